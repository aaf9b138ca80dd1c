-- Queue jobs of one queue; an id that is waiting, held or failed is left as it is.
-- Runs behind queue_start.lua.
--
-- KEYS: 1 jobs, 2 ready, 3 delayed, 4 notify, 5 failed_jobs, 6 stats (types: queue_step.lua)
--   then, as the arguments name them by number:
--   unique:<hash>  STRING  id of the job that has this lock; counts while that job's body
--                          exists; expires when its time is up
--   link:<hash>    STRING  highest index queued of a row of jobs; expires after a day
-- ARGV: 1 token for `notify`   2 number of jobs   3 ms to remember links
--   then for each job: id, delay in ms (0: at once), body
--   then for each job that has one of both: its number from 1, KEYS number of its lock or 0,
--   ms of the lock, KEYS number of its row or 0, its index
-- Reply: {number of jobs that were new, others}; others is flat: number from 1, id of the job
--   that has the lock or "" (known, or a link that was queued before)

local k_jobs, k_ready, k_delayed, k_notify, k_failed_jobs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local k_stats = KEYS[6]
local count, link_ms = tonumber(ARGV[2]), ARGV[3]
local FIRST = 4

local ids = {}
for i = 1, count do ids[i] = ARGV[FIRST + (i - 1) * 3] end
local waiting = redis.call('HMGET', k_jobs, unpack(ids))
local failed = {}
if redis.call('EXISTS', k_failed_jobs) == 1 then
  for i = 1, count do failed[i] = redis.call('HEXISTS', k_failed_jobs, ids[i]) == 1 end
end
local extras = {}
for at = FIRST + count * 3, #ARGV, 5 do
  extras[tonumber(ARGV[at])] = {
    lock = KEYS[tonumber(ARGV[at + 1])], lock_ms = ARGV[at + 2],
    row = KEYS[tonumber(ARGV[at + 3])], index = tonumber(ARGV[at + 4]),
  }
end

local bodies, ready, delayed, seen, others = {}, {}, {}, {}, {}
local rows = {} -- key of a row -> its highest index, of this call

local function leave(i, owner)
  others[#others + 1] = i
  others[#others + 1] = owner
end

-- Takes the lock and the place in the row of job i; false when it must not be queued.
local function admitted(i, extra)
  if extra.row then
    local highest = rows[extra.row] or tonumber(redis.call('GET', extra.row))
    if highest and extra.index <= highest then
      leave(i, '')
      return false
    end
  end
  if extra.lock then
    local owner = redis.call('GET', extra.lock)
    if owner and owner ~= ids[i] and (seen[owner] or redis.call('HEXISTS', k_jobs, owner) == 1) then
      leave(i, owner)
      return false
    end
    redis.call('SET', extra.lock, ids[i], 'PX', extra.lock_ms)
  end
  if extra.row then rows[extra.row] = extra.index end
  return true
end

for i = 1, count do
  local id, delay = ids[i], tonumber(ARGV[FIRST + i * 3 - 2])
  if waiting[i] or failed[i] or seen[id] then
    leave(i, '')
  elseif not extras[i] or admitted(i, extras[i]) then
    seen[id] = true
    bodies[#bodies + 1], bodies[#bodies + 2] = id, ARGV[FIRST + i * 3 - 1]
    if delay > 0 then
      delayed[#delayed + 1], delayed[#delayed + 2] = text(after(delay)), id
    else
      ready[#ready + 1] = id
    end
  end
end
if #bodies == 0 then return {0, others} end

-- Bodies and rows come last: whatever stops this in between, it can be repeated. An id without
-- a body is passed over, and its lock counts for nothing.
local wake = #ready > 0
if wake then redis.call('RPUSH', k_ready, unpack(ready)) end
if #delayed > 0 then
  local before = redis.call('ZRANGE', k_delayed, 0, 0)[1]
  redis.call('ZADD', k_delayed, unpack(delayed))
  -- Waiting workers sleep until the old head is due; an earlier one must wake them.
  wake = wake or redis.call('ZRANGE', k_delayed, 0, 0)[1] ~= before
end
redis.call('HSET', k_jobs, unpack(bodies))
for row, index in pairs(rows) do redis.call('SET', row, index, 'PX', link_ms) end
tally(k_stats, 'r', #ready)
if wake and not redis.call('LPOS', k_notify, ARGV[1]) then redis.call('LPUSH', k_notify, ARGV[1]) end
return {#bodies / 2, others}
