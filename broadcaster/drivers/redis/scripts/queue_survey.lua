-- Look at the lanes of a queue: of which would a step bring something?
--
-- KEYS: 1 fleet ZSET worker -> Redis ms until which it counts as alive; expires with the last
--   then for each lane: ready, delayed, reserved, meta, outbox_due (types: queue_step.lua)
-- ARGV: 1 worker, or "" for somebody who only looks, 2 ms for which it counts as alive,
--   3 pauses count for nothing 0/1
-- Reply: {living workers, ms until another lane is due by time alone or -1, numbers of the
--   lanes that are due, from 1, in the order of KEYS}

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], text(now + tonumber(ARGV[2])), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))

-- A number that was read: nil unless it is one that a script could have written.
local function whole(value)
  local number = tonumber(value)
  return number and number >= 0 and number < 9007199254740992 and number or nil
end

local function first_of(key) return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end

local due, next_ms = {}, -1
-- Whether `moment` has come; when it has not, it is one to come back at.
local function come(moment)
  if not moment then return false end
  if moment <= now then return true end
  if next_ms < 0 or moment - now < next_ms then next_ms = moment - now end
  return false
end

for lane = 1, (#KEYS - 1) / 5 do
  local at = 2 + (lane - 1) * 5
  local meta = redis.call('HMGET', KEYS[at + 3], 'reap_after', 'lane_wait', 'owing', 'paused_until')
  local held = first_of(KEYS[at + 2])
  local wait, paused = whole(meta[2]) or 0, ARGV[3] == '0' and whole(meta[4])
  local is_due = meta[3] == '1' and come(first_of(KEYS[at + 4]))
  if held then
    is_due = come(math.max(held, whole(meta[1]) or 0)) or is_due
  elseif paused and (paused == 0 or not come(paused)) then
    -- Nothing is given out now; the end of the pause was noted, if it has one.
  elseif redis.call('LLEN', KEYS[at]) > 0 then
    is_due = come(wait) or is_due
  else
    is_due = come(first_of(KEYS[at + 1])) or is_due
  end
  if is_due then due[#due + 1] = lane end
end
return {redis.call('ZCARD', KEYS[1]), next_ms, due}
