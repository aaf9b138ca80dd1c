-- Count how long jobs took.
--
-- KEYS: 1, 2 runtimes:0, runtimes:1  HASH of one quarter of an hour of Redis time, in turn:
--   slot -> number of the quarter; classes -> how many; "c|class" -> 1; "class|bin" -> jobs.
--   Both expire half an hour after the last count.
-- ARGV: 1 classes to tell apart, then class, bin, jobs for each
-- Reply: nothing

local SLOT = 900
local slot = math.floor(tonumber(redis.call('TIME')[1]) / SLOT)
local key = KEYS[1 + slot % 2]
if redis.call('HGET', key, 'slot') ~= tostring(slot) then
  redis.call('DEL', key)
  redis.call('HSET', key, 'slot', slot)
end
local classes = tonumber(redis.call('HGET', key, 'classes')) or 0
for i = 2, #ARGV, 3 do
  local class = ARGV[i]
  if redis.call('HEXISTS', key, 'c|' .. class) == 0 then
    if classes < tonumber(ARGV[1]) then
      classes = classes + 1
      redis.call('HSET', key, 'c|' .. class, 1, 'classes', classes)
    else
      class = 'other'
    end
  end
  redis.call('HINCRBY', key, class .. '|' .. ARGV[i + 1], ARGV[i + 2])
end
redis.call('PEXPIRE', KEYS[1], SLOT * 2000)
redis.call('PEXPIRE', KEYS[2], SLOT * 2000)
