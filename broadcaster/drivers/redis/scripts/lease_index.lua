-- Notes that a node is about to have members in some channels, so that a sweeper finds them.
--
-- KEYS (slot {nodes})
--   1 nodes  ZSET  "node:epoch", scored by the Redis ms at which its lease ends
--   2 index  HASH  "app|channel" -> number of the call that noted it
-- ARGV  1 "node:epoch"
--       2 Redis ms at which the writer's lease ends
--       3 number of this call; it rises with every call of a node
--       4 and following: "app|channel"
-- Reply OK; error LEASE when the lease has ended, or is not known here (swept, data lost)
-- Expiry: none; removed by lease_unindex and by sweeping

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
if now > tonumber(ARGV[2]) or now >= ends then
  return redis.error_reply('LEASE of ' .. ARGV[1] .. ' has ended or is not known')
end
local number = tonumber(ARGV[3])
for i = 4, #ARGV do
  local noted = tonumber(redis.call('HGET', KEYS[2], ARGV[i]) or 0)
  redis.call('HSET', KEYS[2], ARGV[i], string.format('%.0f', math.max(noted, number)))
end
return redis.status_reply('OK')
