-- Put failed jobs back into their queue, with all their tries, under their old ids.
--
-- KEYS: 1 failed, 2 failed_jobs, 3 failed_notes, 4 jobs, 5 ready, 6 notify (types: queue_step.lua)
-- ARGV: ids
-- Reply: number of jobs that were put back.

local count = 0
for i = 1, #ARGV do
  local id = ARGV[i]
  local body = redis.call('HGET', KEYS[2], id)
  if body then
    redis.call('ZREM', KEYS[1], id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('HDEL', KEYS[3], id)
    if redis.call('HSETNX', KEYS[4], id, body) == 1 then
      redis.call('RPUSH', KEYS[5], id)
      count = count + 1
    end
  end
end
if count > 0 and redis.call('LLEN', KEYS[6]) == 0 then redis.call('LPUSH', KEYS[6], '1') end
return count
