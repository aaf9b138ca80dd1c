-- Keeps revocations and tells every gateway of the app. Repeating it changes nothing.
--
-- KEYS  1 hash   "<user>\n<channel>" -> "<at> <until>"; field "version" -> ARGV 3
--       2 zset   the same names by <until>, to drop what has expired
-- ARGV  1 topic of the app's control messages
--       2 most revocations kept
--       3 new version
--       4 the control message, in its envelope
--       5.. name, at, until of each revocation; times are Unix seconds
-- Reply 1; 0 when there is no room, and then nothing was changed
-- Expiry: an entry is dropped by a later call once it has expired (1,000 a call), both keys
--       end with their last entry

local HASH, ENDS = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local expired = redis.call('ZRANGEBYSCORE', ENDS, '-inf', now, 'LIMIT', 0, 1000)
if #expired > 0 then
  redis.call('HDEL', HASH, unpack(expired))
  redis.call('ZREM', ENDS, unpack(expired))
end

local live, new = {}, 0
for i = 5, #ARGV, 3 do
  if tonumber(ARGV[i + 2]) > now then
    live[#live + 1] = i
    if redis.call('HEXISTS', HASH, ARGV[i]) == 0 then
      new = new + 1
    end
  end
end
if redis.call('ZCARD', ENDS) + new > tonumber(ARGV[2]) then
  return 0
end

for _, i in ipairs(live) do
  local known = redis.call('HGET', HASH, ARGV[i])
  if not known or tonumber(string.match(known, '^%S+')) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', HASH, ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
    redis.call('ZADD', ENDS, ARGV[i + 2], ARGV[i])
  end
end
if #live > 0 then
  redis.call('HSET', HASH, 'version', ARGV[3])
  local last = tonumber(redis.call('ZRANGE', ENDS, -1, -1, 'WITHSCORES')[2])
  redis.call('EXPIREAT', HASH, math.ceil(last))
  redis.call('EXPIREAT', ENDS, math.ceil(last))
  redis.call('PUBLISH', ARGV[1], ARGV[4])
end
return 1
