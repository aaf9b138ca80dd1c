-- All workers are asked to restart.
--
-- KEYS: 1 restart (type: fleet_beat.lua)
-- Reply the moment by Redis's clock, in ms; it is later than any before. Expiry: none.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
now = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
redis.call('SET', KEYS[1], string.format('%.0f', now))
return string.format('%.0f', now)
