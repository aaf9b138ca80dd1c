-- What the server still knows of a queue, for a worker that could not reach it for a while.
--
-- KEYS: 1 jobs, 2 meta (types: queue_step.lua)
-- ARGV: ids of jobs
-- Reply: {run_id, token or "0", then one number per id: 1 its body is there, 0 not}
-- Writes nothing.

local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local reply = {run_id, redis.call('HGET', KEYS[2], 'token') or '0'}
for i = 1, #ARGV do reply[#reply + 1] = redis.call('HEXISTS', KEYS[1], ARGV[i]) end
return reply
