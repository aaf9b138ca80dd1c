-- Notes that a user's connections are to be closed, and tells every gateway of the app. Its
-- moment is of Redis time, as are the moments at which users sign in (sign_in_moments): no
-- other clock decides who came before and who after. Repeating it under one id changes nothing.
--
-- KEYS  1 hash    revocations, see revoke.lua; the entry is "<user>\n#"
--       2 zset    the same names by the moment until which they are kept
--       3 string  that this id was seen, for ten minutes
-- ARGV  1 topic of the app's control messages
--       2 most revocations kept
--       3 new version of the hash
--       4 the entry's name
--       5 seconds to keep it
--       6 the control message, in its envelope, up to the value of "at"
-- Reply 1; 0 when there is no room, and then nothing was changed
-- Expiry: as in revoke.lua

local HASH, ENDS, SEEN = KEYS[1], KEYS[2], KEYS[3]
local name = ARGV[4]
if redis.call('EXISTS', SEEN) == 1 then
  return 1
end

local time = redis.call('TIME')
local at = tonumber(time[1]) + tonumber(time[2]) / 1000000
local expired = redis.call('ZRANGEBYSCORE', ENDS, '-inf', at, 'LIMIT', 0, 1000)
if #expired > 0 then
  redis.call('HDEL', HASH, unpack(expired))
  redis.call('ZREM', ENDS, unpack(expired))
end

local known = redis.call('HGET', HASH, name)
if known then
  -- A clock may step back. Who signed in at the former moment was given it in these digits.
  local former = tonumber(string.format('%.6f', tonumber(string.match(known, '^%S+'))))
  at = math.max(at, former + 0.000001)
elseif redis.call('ZCARD', ENDS) >= tonumber(ARGV[2]) then
  return 0
end

local until_ = at + tonumber(ARGV[5])
local moment, kept = string.format('%.6f', at), string.format('%.6f', until_)
redis.call('HSET', HASH, name, moment .. ' ' .. kept, 'version', ARGV[3])
redis.call('ZADD', ENDS, kept, name)
local last = math.ceil(tonumber(redis.call('ZRANGE', ENDS, -1, -1, 'WITHSCORES')[2]))
redis.call('EXPIREAT', HASH, last)
redis.call('EXPIREAT', ENDS, last)
redis.call('PUBLISH', ARGV[1], ARGV[6] .. moment .. ',"until":' .. kept .. '}]}')
redis.call('SET', SEEN, '1', 'EX', 600)
return 1
