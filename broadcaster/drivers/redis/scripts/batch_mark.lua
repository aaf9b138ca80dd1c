-- Note how jobs of a batch ended. Runs behind batch_start.lua, whose keys it takes.
--
-- ARGV: 3.. index and how it ended for each, "0" done, or "1" failed and JSON of its job, which
--   is left out if it is that of the one before; none: only say what is due
-- Reply: batch_start.lua; changed unless all of it was known. An index is counted once; one
--   that failed becomes done when a later run of its job is done, and never the other way.
--   Who is counted as the first that failed is kept for the callbacks of `catch`.

if redis.call('EXISTS', k_meta) == 0 then return reply(false) end
local total = tonumber(field('total'))
local done, failed, undone = 0, 0, 0
local told, culprit = '', nil
for i = 3, #ARGV, 2 do
  local index = tonumber(ARGV[i])
  if #ARGV[i + 1] > 1 then told = string.sub(ARGV[i + 1], 2) end
  if index < total and redis.call('GETBIT', k_done, index) == 0 then
    if ARGV[i + 1] == '0' then
      redis.call('SETBIT', k_done, index, 1)
      done = done + 1
      if redis.call('EXISTS', k_failed) == 1 then
        undone = undone + redis.call('SETBIT', k_failed, index, 0)
      end
    elseif redis.call('SETBIT', k_failed, index, 1) == 0 then
      failed = failed + 1
      culprit = culprit or told
    end
  end
end
if done + failed == 0 then return reply(false) end
if done > 0 then redis.call('HINCRBY', k_meta, 'pending', -done) end
if failed ~= undone then redis.call('HINCRBY', k_meta, 'failed', failed - undone) end
if failed > 0 and field('allow') == '0' then redis.call('HSETNX', k_meta, 'cancelled', now) end
if culprit and redis.call('HEXISTS', k_callbacks, 'catch') == 1 then
  redis.call('HSETNX', k_callbacks, 'culprit', culprit)
end
if failed > 0 then come('catch') end
look_for_moments()
keep()
return reply(true)
