-- The presence list of one channel. Not a script of its own: this text stands in front of
-- presence_join, _leave, _finish, _sweep and _snapshot, which all take these keys.
--
-- KEYS (slot {app:channel}; user ids are hostile text, so they are fields and members only)
--   1 connections  HASH    "node:epoch:socket" -> user id
--   2 tabs         HASH    user id -> number of their connections; absent while leaving
--   3 data         HASH    user id -> Member.data; who is in here is in the list
--   4 goodbye      HASH    user id -> ready member_removed frame, so that any node can say it
--   5 order        ZSET    user id, scored by the version that added them
--   6 leaving      ZSET    user id without connections, scored by the Redis ms until which a
--                          new connection cancels the leave silently
--   7 version      STRING  version of the list; begins with Redis time in microseconds, so it
--                          keeps rising after the key, or all data, was lost
--   8 told         SET     user id whose coming and going somebody wants to know
--   9 facts        ZSET    the outbox: fact, see note(), scored by the version it came with;
--                          and LOST, scored by the number of facts that found it full
-- ARGV[1]          pub/sub channel (topic) to announce to
--
-- Expiry: nothing while anyone is in the list. An empty list leaves `version`, for a day.
-- Connections of a node that died are removed by presence_sweep. Facts go when they are queued.

local CONNECTIONS, TABS, DATA, GOODBYE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ORDER, LEAVING, VERSION, TOLD, FACTS = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local TOPIC = ARGV[1]
local BATCH = 200
local MOST_FACTS, LOST = 10000, '!'
local NO_IDS = string.rep('\0', 32)

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function lease_ended(until_ms)
  return now > tonumber(until_ms)
end

local function next_version()
  local last = tonumber(redis.call('GET', VERSION) or '') or now * 1000
  redis.call('SET', VERSION, string.format('%.0f', last + 1))
  return last + 1
end

-- An envelope, see broadcaster/protocol/envelope.py: version 1, Flag.PRESENCE (2).
local function announce(version, excluded, frame)
  local head = struct.pack('>BBI8I8', 1, 2, version, now)
  redis.call('PUBLISH', TOPIC, head .. NO_IDS .. string.char(#excluded) .. excluded .. frame)
end

-- A fact is text: number, name, ms, app, channel and user id, a NUL between.
local function note(version, name, user)
  if redis.call('ZCARD', FACTS) >= MOST_FACTS then
    redis.call('ZINCRBY', FACTS, 1, LOST)
    return
  end
  local number, ms = string.format('%.0f', version), string.format('%.0f', now)
  local app, channel = string.match(TOPIC, '{([^:]*):(.*)}$')
  local fact = table.concat({number, name, ms, app, channel, user}, '\0')
  redis.call('ZADD', FACTS, number, fact)
end

local function remove(user)
  redis.call('ZREM', LEAVING, user)
  local told = redis.call('SREM', TOLD, user) == 1
  if redis.call('HDEL', DATA, user) == 0 then
    return
  end
  local frame = redis.call('HGET', GOODBYE, user)
  redis.call('HDEL', GOODBYE, user)
  redis.call('HDEL', TABS, user)
  redis.call('ZREM', ORDER, user)
  local version = next_version()
  announce(version, '', frame)
  if told then
    note(version, 'member_removed', user)
  end
  if redis.call('EXISTS', DATA) == 0 then
    redis.call('PEXPIRE', VERSION, 86400000)
  end
end

-- Removes one connection. Returns its user (false if it was not there) and whether it was
-- their last; the caller decides what becomes of a user without connections.
local function disconnect(connection)
  local user = redis.call('HGET', CONNECTIONS, connection)
  if not user then
    return false, false
  end
  redis.call('HDEL', CONNECTIONS, connection)
  local last = redis.call('HINCRBY', TABS, user, -1) <= 0
  if last then
    redis.call('HDEL', TABS, user)
  end
  return user, last
end

-- Removes those whose time is up, a batch at most. Returns how many.
local function finish_due()
  local due = redis.call('ZRANGEBYSCORE', LEAVING, '-inf', now, 'LIMIT', 0, BATCH)
  for _, user in ipairs(due) do
    remove(user)
  end
  return #due
end

-- Milliseconds until the next leaving user is due, -1 when nobody is leaving.
local function next_due()
  local first = redis.call('ZRANGE', LEAVING, 0, 0, 'WITHSCORES')
  if not first[2] then
    return -1
  end
  return math.max(0, tonumber(first[2]) - now)
end

-- {version, {user id, ...}, {Member.data, ...}}, both in the same order, oldest first.
local function snapshot()
  local version = tonumber(redis.call('GET', VERSION) or '') or 0
  local users = redis.call('ZRANGE', ORDER, 0, -1)
  if #users == 0 then
    return {version, {}, {}}
  elseif #users <= 1000 then
    return {version, users, redis.call('HMGET', DATA, unpack(users))}
  end
  local data = {}
  for first = 1, #users, 1000 do
    local last = math.min(first + 999, #users)
    for i, member in ipairs(redis.call('HMGET', DATA, unpack(users, first, last))) do
      data[first + i - 1] = member
    end
  end
  return {version, users, data}
end
