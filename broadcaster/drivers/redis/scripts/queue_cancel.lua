-- Forget jobs wherever they are, but not failed ones. Runs behind queue_drop_start.lua, whose keys
-- it takes.
--
-- ARGV: 1 token for `notify`, 2.. ids
-- Reply: number of jobs that were forgotten. Who runs one learns it with the next renewal, and
--   its settlement is refused.

local found = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  if redis.call('HEXISTS', k_jobs, id) == 1 then
    found[#found + 1] = id
    if redis.call('HDEL', KEYS[8], id) == 1 then
      redis.call('ZREM', KEYS[7], id)
    elseif redis.call('ZREM', KEYS[3], id) == 0 and redis.call('LREM', KEYS[2], 1, id) == 0 then
      redis.call('LREM', KEYS[4], 1, id)
    end
  end
end
return drop(found, true)
