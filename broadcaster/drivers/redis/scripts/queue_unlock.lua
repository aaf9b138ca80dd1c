-- Free a unique lock early.
--
-- KEYS: 1 unique:<hash>, as in queue_push.lua
-- ARGV: 1 id of the job that must have it
-- Reply: 1, or 0 when another job or none has it.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
