-- Add jobs to a batch that runs. Runs behind batch_start.lua, whose keys it takes.
--
-- ARGV: 3 id of the request, 4 number of jobs, 5 jobs a batch may have
-- Reply: index of the first, the same for the same request; -1: there is no such batch, or it
--   is finished or cancelled, or would have too many jobs.

local before = redis.call('HGET', k_adds, ARGV[3])
if before then return tonumber(before) end
local state = redis.call('HMGET', k_meta, 'total', 'finished', 'cancelled')
local total, count = tonumber(state[1]), tonumber(ARGV[4])
if not total or state[2] or state[3] or total + count > tonumber(ARGV[5]) then return -1 end
redis.call('HINCRBY', k_meta, 'total', count)
redis.call('HINCRBY', k_meta, 'pending', count)
redis.call('HSET', k_adds, ARGV[3], total)
keep()
return total
