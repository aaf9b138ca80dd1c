-- Add to a counter.
--
-- KEYS: 1 counter STRING; expires after the time given with its first count
-- ARGV: 1 what to add (0: only read), 2 ms
-- Reply: the counter afterwards.

if ARGV[1] == '0' then return tonumber(redis.call('GET', KEYS[1])) or 0 end
local new = redis.call('EXISTS', KEYS[1]) == 0
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if new then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return count
