-- Keep a batch. Runs behind batch_start.lua, whose keys it takes.
--
-- ARGV: 3 name, 4 options as JSON, 5 allow failures 0/1, 6 total, then moment, JSON of its jobs
-- Reply: batch_start.lua; it is not changed if it was there already. One without jobs is
--   finished, and what is due is in the reply.

if redis.call('EXISTS', k_meta) == 1 then return reply(false) end
-- What makes it exist comes last: whatever stops this in between, it can be repeated.
for i = 7, #ARGV, 2 do redis.call('HSET', k_callbacks, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', k_meta, 'name', ARGV[3], 'options', ARGV[4], 'allow', ARGV[5], 'total', ARGV[6],
  'pending', ARGV[6], 'failed', '0', 'created', now)
look_for_moments()
keep()
return reply(true)
