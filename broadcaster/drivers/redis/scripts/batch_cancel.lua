-- Cancel a batch, or take that back if some of it has failed, which is to run then. Runs behind batch_start.lua, whose keys it takes.
--
-- ARGV: 3 "cancel" or "reopen"
-- Reply: for "cancel" 1, or 0 if there is nothing to cancel; for "reopen" the bitmap of the
--   indices that failed.

if ARGV[3] == 'reopen' then
  if redis.call('EXISTS', k_meta) == 0 then return '' end
  -- With nothing to run again, it would only look as if it had never been cancelled.
  if redis.call('BITCOUNT', k_failed) == 0 then return '' end
  redis.call('HDEL', k_meta, 'cancelled')
  keep()
  return redis.call('GET', k_failed)
end
local state = redis.call('HMGET', k_meta, 'total', 'finished')
if not state[1] or state[2] or redis.call('HSETNX', k_meta, 'cancelled', now) == 0 then return 0 end
keep()
return 1
