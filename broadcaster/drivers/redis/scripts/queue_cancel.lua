-- Forget jobs wherever they are, but not failed ones. Runs behind queue_drop_start.lua, whose keys
-- it takes.
--
-- ARGV: 1 token for `notify`, 2.. ids
-- Reply: {number of jobs that were forgotten, number of ids that were looked at}: long lists are
--   not searched often enough to hold up who else waits for Redis. Who runs one of the jobs
--   learns it with the next renewal, and its settlement is refused.

local SEARCHED = 200000
local length, left, found, looked = redis.call('LLEN', KEYS[2]) + redis.call('LLEN', KEYS[4]), SEARCHED, {}, 0
for i = 2, #ARGV do
  if left < 0 then break end
  local id = ARGV[i]
  looked = looked + 1
  if redis.call('HEXISTS', k_jobs, id) == 1 then
    found[#found + 1] = id
    if redis.call('HDEL', KEYS[8], id) == 1 then
      redis.call('ZREM', KEYS[7], id)
    elseif redis.call('ZREM', KEYS[3], id) == 0 then
      left = left - length
      if redis.call('LREM', KEYS[2], 1, id) == 0 then redis.call('LREM', KEYS[4], 1, id) end
    end
  end
end
return {drop(found, true), looked}
