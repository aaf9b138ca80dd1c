-- Forgets a channel of a node, unless a later call of that node has noted it again: answers
-- and connections may be overtaken by others, the numbers say which call was last.
--
-- KEYS (slot {nodes})
--   1 index  HASH  "app|channel" -> number of the call that noted it
-- ARGV  1 "app|channel"
--       2 number of this call
-- Reply 1 if forgotten, else 0
-- Expiry: none

local noted = redis.call('HGET', KEYS[1], ARGV[1])
if noted and tonumber(noted) < tonumber(ARGV[2]) then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
