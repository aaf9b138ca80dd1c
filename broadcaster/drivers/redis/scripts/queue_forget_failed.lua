-- Forget failed jobs.
--
-- KEYS: 1 failed, 2 failed_jobs, 3 failed_notes, 4 failed_retried (types: queue_step.lua)
-- ARGV: ids, at most 1,000
-- Reply: number of jobs that were found.

for i = 2, 4 do redis.call('HDEL', KEYS[i], unpack(ARGV)) end
return redis.call('ZREM', KEYS[1], unpack(ARGV))
