-- Renew the leases of jobs that a worker is running.
--
-- KEYS: 1 jobs, 2 reserved, 3 held, 4 meta (types: queue_step.lua)
-- ARGV: 1 lease ms, then id, token for each job
-- Reply: one number per job: 1 kept, 0 lost (another token, or given back), -1 gone (no body)
-- A renewal is a sign of life of the queue, so it looks for an outage as a step does.

local k_jobs, k_reserved, k_held, k_meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local lease = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
-- Rounded up, as `now` is rounded down, so that no lease ends before its time.
local lease_end = tonumber(clock[1]) * 1000 + math.ceil(tonumber(clock[2]) / 1000) + lease
local function text(number) return string.format('%.0f', number) end

local seen = tonumber(redis.call('HGET', k_meta, 'seen'))
if seen and now - seen > lease / 3 then
  redis.call('HSET', k_meta, 'seen', text(now), 'reap_after', text(now + math.floor(lease / 3)))
else
  redis.call('HSET', k_meta, 'seen', text(now))
end

local reply = {}
for i = 2, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local value = redis.call('HGET', k_held, id)
  if redis.call('HEXISTS', k_jobs, id) == 0 then
    reply[#reply + 1] = -1
  elseif value and string.match(value, '^%d+') == token then
    redis.call('ZADD', k_reserved, 'XX', text(lease_end), id)
    reply[#reply + 1] = 1
  else
    reply[#reply + 1] = 0
  end
end
return reply
