-- Returns the present moment for users who sign in: never before the last termination of each.
--
-- KEYS  1 hash  revocations, see terminate.lua
-- ARGV  names of the entries, one for each user
-- Reply {moment, ...}: Unix seconds by Redis time, as text, in the order of the names
-- Expiry none

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local moments = {}
for i, name in ipairs(ARGV) do
  local known = redis.call('HGET', KEYS[1], name)
  local last = known and tonumber(string.match(known, '^%S+')) or 0
  moments[i] = string.format('%.6f', math.max(now, last))
end
return moments
