-- Adds one connection of a user. Repeating it changes and announces nothing.
--
-- KEYS  as in presence_channel
-- ARGV   1 topic
--        2 Redis ms at which the writer's lease ends
--        3 connection, "node:epoch:socket"
--        4 the same connection under the epoch before, or the empty string
--        5 socket id, excluded from the announcement
--        6 user id
--        7 Member.data
--        8 member_added frame
--        9 member_removed frame, kept for the day they leave
--       10 users allowed
--       11 "1" to announce, "0" while a node registers everything anew
--       12 "1" to get the list, "0" for its version only
--       13 "1" if facts of this user are wanted, else "0"
-- Reply  {version, {user id, ...}, {Member.data, ...}} oldest first; {-1, users} when the
--        channel is full; error LEASE when the lease has ended
-- Expiry as in presence_channel
--
-- The first connection's Member.data stays until all are gone. A user who is leaving and
-- comes back in time brings new Member.data and is announced neither as gone nor as new;
-- one who comes back too late is both, in this order, whether or not anyone has noticed.

if lease_ended(ARGV[2]) then
  return redis.error_reply('LEASE of the node ended ' .. now - tonumber(ARGV[2]) .. ' ms ago')
end

-- Before anything is written: a key of another type stops the script now, not halfway, or else
-- the repeat would find the connection there and the user in no list.
for command, keys in pairs({HLEN = {TABS, GOODBYE}, ZCARD = {ORDER, FACTS}, SCARD = {TOLD}, STRLEN = {VERSION}}) do
  for _, key in ipairs(keys) do
    redis.call(command, key)
  end
end

local connection, former, user = ARGV[3], ARGV[4], ARGV[6]

local function answer()
  if ARGV[12] == '1' then
    return snapshot()
  end
  return {tonumber(redis.call('GET', VERSION) or '') or 0, {}, {}}
end

-- A node that registers everything anew takes its connections over from its last epoch.
local held = redis.call('HGET', CONNECTIONS, connection)
if former ~= '' then
  local before = redis.call('HGET', CONNECTIONS, former)
  if before and not held then
    redis.call('HDEL', CONNECTIONS, former)
    redis.call('HSET', CONNECTIONS, connection, before)
    held = before
  end
end
if held == user then
  return answer()
end
if held then
  local other, last = disconnect(connection)
  if last then
    remove(other)
  end
end

local until_ms = redis.call('ZSCORE', LEAVING, user)
if until_ms and tonumber(until_ms) <= now then
  remove(user)
end

local present = redis.call('HEXISTS', DATA, user) == 1
if not present and redis.call('HLEN', DATA) >= tonumber(ARGV[10]) then
  finish_due()
  local users = redis.call('HLEN', DATA)
  if users >= tonumber(ARGV[10]) then
    return {-1, users}
  end
end

redis.call('HSET', CONNECTIONS, connection, user)
redis.call('HINCRBY', TABS, user, 1)
if until_ms then
  redis.call('ZREM', LEAVING, user)
end
if until_ms or not present then
  redis.call('HSET', DATA, user, ARGV[7])
  redis.call('HSET', GOODBYE, user, ARGV[9])
end
if not present then
  local version = next_version()
  redis.call('ZADD', ORDER, string.format('%.0f', version), user)
  if ARGV[11] == '1' then
    announce(version, ARGV[5], ARGV[8])
  end
  if ARGV[13] == '1' then
    redis.call('SADD', TOLD, user)
    if ARGV[11] == '1' then
      note(version, 'member_added', user)
    end
  end
end
return answer()
