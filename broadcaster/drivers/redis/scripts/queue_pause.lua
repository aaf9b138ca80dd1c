-- Pause a queue, or end that.
--
-- KEYS: 1 meta, 2 ready, 3 suspects, 4 notify (types: queue_step.lua)
-- ARGV: 1 "pause" or "resume", 2 token for `notify`, 3 ms or 0 for ever, 4 who
-- Reply: pause: 1; resume: 1, or 0 when it was not paused.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

if ARGV[1] == 'pause' then
  local ms = tonumber(ARGV[3])
  redis.call('HSET', KEYS[1], 'paused_until', ms == 0 and '0' or text(now + ms),
    'paused_since', text(now), 'paused_by', ARGV[4])
  return 1
end
local ends = tonumber(redis.call('HGET', KEYS[1], 'paused_until'))
redis.call('HDEL', KEYS[1], 'paused_until', 'paused_since', 'paused_by')
if redis.call('LLEN', KEYS[2]) + redis.call('LLEN', KEYS[3]) > 0
    and not redis.call('LPOS', KEYS[4], ARGV[2]) then
  redis.call('LPUSH', KEYS[4], ARGV[2])
end
return ends and (ends == 0 or ends > now) and 1 or 0
