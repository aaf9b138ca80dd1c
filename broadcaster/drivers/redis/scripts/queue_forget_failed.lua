-- Forget failed jobs.
--
-- KEYS: 1 failed, 2 failed_jobs, 3 failed_notes, 4 failed_retried (types: queue_step.lua)
-- ARGV: 1 ms after which a job must not have failed, or "" for any time; then ids, at most 1,000
-- Reply: number of jobs that were found.

local latest, ids = tonumber(ARGV[1]), {}
for i = 2, #ARGV do
  local failed_at = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]))
  if failed_at and (not latest or failed_at <= latest) then ids[#ids + 1] = ARGV[i] end
end
if #ids == 0 then return 0 end
for i = 2, 4 do redis.call('HDEL', KEYS[i], unpack(ids)) end
return redis.call('ZREM', KEYS[1], unpack(ids))
