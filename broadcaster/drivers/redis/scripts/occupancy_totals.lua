-- What follows from how many connections a channel has over all gateways. Not a script of its
-- own: this text stands in front of occupancy_set, _sweep and _settle, which take these keys.
--
-- KEYS (slot {nodes}; an entry is "app|channel", which needs no quoting anywhere)
--   1 totals    HASH    entry -> connections over all nodes; absent for 0
--   2 told      SET     entry of an occupied channel whose comings and goings somebody wants to
--                       know; in here from `channel_occupied` to `channel_vacated`
--   3 vacating  ZSET    entry told and without connections, scored by the Redis ms until which
--                       a new connection cancels the end silently
--   4 shown     HASH    entry -> "connections:ms", what subscribers were told last, and when;
--                       only where they are told
--   5 counting  ZSET    entry whose number was told a moment ago, scored by the Redis ms at
--                       which the present one is told
--   6 facts     ZSET    the outbox: fact, see note(), scored by its number; and LOST, scored by
--                       the number of facts that found it full
--   7 sequence  STRING  last number; begins with Redis time in microseconds, so it keeps rising
--                       after all data was lost
-- ARGV[1]       prefix of the topics of channels
--
-- What is done depends on what was told and what is true now, not on who changed what: repeats
-- and writes in any order lead to the same end. Names that begin with "#" are only counted.
--
-- Expiry: none. All of it goes with the connections; those of dead nodes with occupancy_sweep.

local TOTALS, TOLD, VACATING, SHOWN = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local COUNTING, FACTS, SEQUENCE = KEYS[5], KEYS[6], KEYS[7]
local PREFIX = ARGV[1]
local BATCH = 200
local MOST_FACTS, LOST = 100000, '!'
local MANY, PAUSE = 100, 5000
local NO_IDS = string.rep('\0', 32)

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local any_told = redis.call('SCARD', TOLD) > 0
local any_shown = redis.call('HLEN', SHOWN) > 0
local any_vacating = false

-- To be called before anything is written: a key of another type stops the script now or never.
local function look()
  any_vacating = redis.call('ZCARD', VACATING) > 0
  redis.call('ZCARD', COUNTING)
  redis.call('ZCARD', FACTS)
  redis.call('STRLEN', SEQUENCE)
end

local function whole(number)
  return string.format('%.0f', number)
end

-- What is no count counts as nothing.
local function read_count(text)
  local count = text and tonumber(text)
  return count and count >= 0 and count < 1e15 and math.floor(count) or 0
end

local function next_number()
  local last = tonumber(redis.call('GET', SEQUENCE) or '') or now * 1000
  redis.call('SET', SEQUENCE, whole(last + 1))
  return last + 1
end

local function parts(entry)
  return string.match(entry, '^([^|]*)|(.*)$')
end

-- A fact is text: number, name, ms, app, channel and what belongs to the name, a NUL between.
local function note(name, entry, ms, rest)
  if redis.call('ZCARD', FACTS) >= MOST_FACTS then
    redis.call('ZINCRBY', FACTS, 1, LOST)
    return
  end
  local number = whole(next_number())
  local app, channel = parts(entry)
  local fact = table.concat({number, name, whole(ms), app, channel, rest}, '\0')
  redis.call('ZADD', FACTS, number, fact)
end

local function vacate(entry, ms)
  redis.call('ZREM', VACATING, entry)
  if redis.call('SREM', TOLD, entry) == 1 then
    note('channel_vacated', entry, ms, '')
  end
end

-- Tells subscribers on all nodes; PUBLISH in here means that no older number comes later.
local function show(entry, total)
  local app, channel = parts(entry)
  redis.call('ZREM', COUNTING, entry)
  if total > 0 then
    -- See encode_subscription_count, and broadcaster/protocol/envelope.py: Flag.COUNT (8) and EPHEMERAL (1).
    local frame = '{"event":"pusher_internal:subscription_count","channel":"' .. channel
      .. '","data":"{\\"subscription_count\\":' .. whole(total) .. '}"}'
    local head = struct.pack('>BBI8I8', 1, 9, next_number(), now)
    redis.call('PUBLISH', PREFIX .. ':{' .. app .. ':' .. channel .. '}', head .. NO_IDS .. '\0' .. frame)
    redis.call('HSET', SHOWN, entry, whole(total) .. ':' .. whole(now))
  else
    redis.call('HDEL', SHOWN, entry)
  end
  if redis.call('SISMEMBER', TOLD, entry) == 1 then
    note('subscription_count', entry, now, whole(total))
  end
end

-- Tells a number now, or in a while if many would have to be told too often.
local function show_soon(entry, total)
  local shown = redis.call('HGET', SHOWN, entry) or '0:0'
  local last, at = string.match(shown, '^(%d+):(%d+)$')
  last, at = tonumber(last or 0), tonumber(at or 0)
  if last == total then
    redis.call('ZREM', COUNTING, entry)
  elseif total > MANY and now >= at and now < at + PAUSE then
    redis.call('ZADD', COUNTING, 'NX', at + PAUSE, entry)
  else
    show(entry, total)
  end
end

-- Draws the conclusions from a channel's total. `wanted` has booleans: facts, counts, announce;
-- and `grace` in ms.
local function conclude(entry, total, wanted)
  if string.find(entry, '|#', 1, true) then
    return
  end
  if total > 0 then
    local due = any_vacating and redis.call('ZSCORE', VACATING, entry)
    if due and tonumber(due) <= now then
      vacate(entry, tonumber(due))
    elseif due then
      redis.call('ZREM', VACATING, entry)
    end
    if wanted.facts and redis.call('SADD', TOLD, entry) == 1 and wanted.announce then
      note('channel_occupied', entry, now, '')
    end
  elseif any_told and redis.call('SISMEMBER', TOLD, entry) == 1 then
    redis.call('ZADD', VACATING, 'NX', now + wanted.grace, entry)
  end
  if (wanted.counts or any_shown) and not string.find(entry, '|presence-', 1, true) then
    if wanted.counts or redis.call('HEXISTS', SHOWN, entry) == 1 then
      show_soon(entry, total)
    end
  end
end

local function set_total(entry, total)
  if total > 0 then
    redis.call('HSET', TOTALS, entry, whole(total))
  else
    redis.call('HDEL', TOTALS, entry)
  end
end
