-- Note that the jobs of moments are queued. Runs behind batch_start.lua, whose keys it takes.
--
-- ARGV: 3.. moments
-- Reply: 1, or 0 when there is no such batch.

if redis.call('EXISTS', k_meta) == 0 then return 0 end
for i = 3, #ARGV do
  redis.call('HSET', k_meta, 'on:' .. ARGV[i], 'called')
  redis.call('HDEL', k_callbacks, ARGV[i])
  if ARGV[i] == 'catch' then redis.call('HDEL', k_callbacks, 'culprit') end
end
return 1
