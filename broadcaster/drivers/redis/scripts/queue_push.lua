-- Queue jobs of one queue; an id that is waiting, held or failed is left as it is.
--
-- KEYS: 1 jobs, 2 ready, 3 delayed, 4 notify, 5 failed_jobs (types: queue_step.lua)
-- ARGV: for each job: id, delay in ms (0: at once), body
-- Reply: number of jobs that were new. Nothing expires.

local k_jobs, k_ready, k_delayed, k_notify, k_failed_jobs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local ids = {}
for i = 1, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
local waiting = redis.call('HMGET', k_jobs, unpack(ids))
local failed = {}
if redis.call('EXISTS', k_failed_jobs) == 1 then
  for i = 1, #ids do failed[i] = redis.call('HEXISTS', k_failed_jobs, ids[i]) == 1 end
end

local bodies, ready, delayed, seen = {}, {}, {}, {}
for i = 1, #ids do
  local id, delay, body = ids[i], tonumber(ARGV[i * 3 - 1]), ARGV[i * 3]
  if not waiting[i] and not failed[i] and not seen[id] then
    seen[id] = true
    bodies[#bodies + 1], bodies[#bodies + 2] = id, body
    if delay > 0 then
      delayed[#delayed + 1], delayed[#delayed + 2] = string.format('%.0f', now + delay), id
    else
      ready[#ready + 1] = id
    end
  end
end
if #bodies == 0 then return 0 end
redis.call('HSET', k_jobs, unpack(bodies))

local wake = #ready > 0
if #ready > 0 then redis.call('RPUSH', k_ready, unpack(ready)) end
if #delayed > 0 then
  local before = redis.call('ZRANGE', k_delayed, 0, 0)[1]
  redis.call('ZADD', k_delayed, unpack(delayed))
  -- Waiting workers sleep until the old head is due; an earlier one must wake them.
  wake = wake or redis.call('ZRANGE', k_delayed, 0, 0)[1] ~= before
end
if wake and redis.call('LLEN', k_notify) == 0 then redis.call('LPUSH', k_notify, '1') end
return #bodies / 2
