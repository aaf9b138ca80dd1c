-- Removes connections of a node whose lease has ended, a batch at most, and announces users
-- who have no other. The lease was their time to come back, so there is no more of it.
-- Connections are removed once whoever calls this, and however often.
--
-- KEYS  as in presence_channel
-- ARGV  1 topic
--       2 "node:epoch:", the prefix of the connections
--       3 the same as a glob pattern
--       4 cursor; "0" begins
--       5 connections per call
-- Reply {more, cursor, ms, facts}: when `more` is 1, go on with the cursor; else ms until a
--       leaving user is due in this channel, -1 when nobody is leaving; and facts that wait
-- Expiry as in presence_channel

local prefix, batch = ARGV[2], tonumber(ARGV[5])
local page = redis.call('HSCAN', CONNECTIONS, ARGV[4], 'MATCH', ARGV[3], 'COUNT', batch)
local cursor, entries, removed = page[1], page[2], 0
for i = 1, #entries, 2 do
  local connection = entries[i]
  local socket = string.sub(connection, #prefix + 1)
  -- A node's name may contain a colon, a socket id does not.
  if string.sub(connection, 1, #prefix) == prefix and not string.find(socket, ':', 1, true) then
    if removed == batch then
      return {1, ARGV[4], 0, 0} -- a small hash comes in one page, whatever its COUNT: read it again
    end
    removed = removed + 1
    local user, last = disconnect(connection)
    if last then
      remove(user)
    end
  end
end
if cursor ~= '0' then
  return {1, cursor, 0, 0}
end
finish_due()
return {0, cursor, next_due(), redis.call('ZCARD', FACTS)}
