-- Owe no longer what cannot be done; jobs that cannot be queued are kept as failed ones.
--
-- KEYS: 1 outbox, 2 outbox_due, 3 failed, 4 failed_jobs, 5 failed_notes, 6 failed_retried
--   (types, and who trims them: queue_step.lua)
-- ARGV: 1 entry of the outbox, then for each job: id, body, note
-- Reply: number of jobs that are kept. Safe to repeat.

local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))

for i = 2, #ARGV, 3 do
  redis.call('ZADD', KEYS[3], now, ARGV[i])
  redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
  redis.call('HSET', KEYS[5], ARGV[i], ARGV[i + 2])
  redis.call('HDEL', KEYS[6], ARGV[i])
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return (#ARGV - 1) / 3
