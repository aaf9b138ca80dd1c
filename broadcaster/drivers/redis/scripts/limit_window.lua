-- Count in a window that begins with its first hit.
--
-- KEYS: 1 window STRING hits so far; expires at the end of the window
-- ARGV: 1 hits that are allowed, 2 ms of the window, 3 hits of this call; 0 only looks
-- Reply: {allowed 0/1, hits left, ms until the window ends, 0 when allowed}. What is not
--   allowed is not counted.

local allow, cost = tonumber(ARGV[1]), tonumber(ARGV[3])
local hits = tonumber(redis.call('GET', KEYS[1])) or 0
if hits + math.max(1, cost) > allow then
  local left = redis.call('PTTL', KEYS[1])
  return {0, math.max(0, allow - hits), left > 0 and left or 1}
end
if cost > 0 and redis.call('INCRBY', KEYS[1], cost) == cost then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {1, allow - hits - cost, 0}
