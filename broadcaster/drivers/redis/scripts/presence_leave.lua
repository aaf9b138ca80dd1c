-- Removes one connection. Repeating it changes nothing.
--
-- KEYS  as in presence_channel
-- ARGV  1 topic
--       2 Redis ms at which the writer's lease ends
--       3 connection, "node:epoch:socket"
--       4 the same connection under the epoch before, or the empty string
--       5 ms in which a new connection of the user cancels the leave; 0 announces at once
-- Reply ms until presence_finish is due, -1 when nothing is left to do for this connection;
--       error LEASE when the lease has ended
-- Expiry as in presence_channel

if lease_ended(ARGV[2]) then
  return redis.error_reply('LEASE of the node ended ' .. now - tonumber(ARGV[2]) .. ' ms ago')
end

local grace = tonumber(ARGV[5])
local found, waiting = false, false
for i = 3, 4 do
  local user, last = disconnect(ARGV[i])
  found = found or user
  if last and grace > 0 then
    redis.call('ZADD', LEAVING, now + grace, user)
    waiting = true
  elseif last then
    remove(user)
  end
end

if waiting then
  return grace
end
if found then
  return -1
end
-- Perhaps the answer to the first attempt was lost: whoever is leaving needs a finish.
return next_due()
