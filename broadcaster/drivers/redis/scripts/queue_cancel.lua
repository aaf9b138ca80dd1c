-- Forget jobs wherever they are, but not failed ones.
--
-- KEYS: 1 jobs, 2 ready, 3 delayed, 4 suspects, 5 attempts, 6 crashes, 7 reserved, 8 held
--   (types: queue_step.lua)
-- ARGV: ids
-- Reply: number of jobs that were forgotten. Who runs one learns it with the next renewal, and
--   its settlement is refused.

local count = 0
for i = 1, #ARGV do
  local id = ARGV[i]
  if redis.call('HDEL', KEYS[1], id) == 1 then
    count = count + 1
    if redis.call('HDEL', KEYS[8], id) == 1 then
      redis.call('ZREM', KEYS[7], id)
    elseif redis.call('ZREM', KEYS[3], id) == 0 and redis.call('LREM', KEYS[2], 1, id) == 0 then
      redis.call('LREM', KEYS[4], 1, id)
    end
    redis.call('HDEL', KEYS[5], id, id .. ':e', id .. ':p')
    redis.call('HDEL', KEYS[6], id)
  end
end
return count
