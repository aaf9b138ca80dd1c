-- Sets how many connections a node has in some channels.
--
-- KEYS (slot {nodes})
--   1 nodes      ZSET  "node:epoch", scored by the Redis ms at which its lease ends
--   2 occupancy  HASH  "app|channel" -> connections of this node and epoch
-- ARGV  1 "node:epoch"
--       2 Redis ms at which the writer's lease ends
--       3 ms that occupancy outlives the lease
--       4, 5 and following: "app|channel", connections; 0 forgets the channel
-- Reply OK; error LEASE when the lease has ended, or is not known here (swept, data lost)
-- Expiry: occupancy some time after the lease; lease_renew puts it off

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
if now > tonumber(ARGV[2]) or now >= ends then
  return redis.error_reply('LEASE of ' .. ARGV[1] .. ' has ended or is not known')
end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '0' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIREAT', KEYS[2], ends + tonumber(ARGV[3]))
return redis.status_reply('OK')
