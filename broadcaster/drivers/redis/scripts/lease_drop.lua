-- Forgets a node that has been swept: nothing is left in its index, nor in its counts.
--
-- KEYS (slot {nodes})
--   1 nodes      ZSET  "node:epoch", scored by the Redis ms at which its lease ends
--   2 starts     HASH  "node:epoch" -> random text of the call that started the lease
--   3 index      HASH  "app|channel" -> number of the call that noted it
--   4 occupancy  HASH  "app|channel" -> connections of this node and epoch
-- ARGV  1 "node:epoch"
-- Reply 1 if forgotten; 0 when something is left or the lease has not ended
-- Expiry: none

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) > now or redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 then
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
