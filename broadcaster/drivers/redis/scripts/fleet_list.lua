-- Workers that have described themselves lately.
--
-- KEYS (one slot: {queues}): 1 workers, 2 worker_times (types: fleet_beat.lua)
-- ARGV  1 ms of silence after which a worker is not listed   2 workers to list at most
-- Reply {ms of its description, JSON, ...}, the latest first. Expiry: none.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local found = redis.call(
  'ZREVRANGEBYSCORE', KEYS[2], '+inf', string.format('%.0f', now - tonumber(ARGV[1])),
  'WITHSCORES', 'LIMIT', 0, ARGV[2]
)
local reply = {}
for i = 1, #found, 2 do
  local record = redis.call('HGET', KEYS[1], found[i])
  if record then
    reply[#reply + 1] = found[i + 1]
    reply[#reply + 1] = record
  end
end
return reply
