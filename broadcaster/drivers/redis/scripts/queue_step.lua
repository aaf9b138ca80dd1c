-- One round trip of a worker: settle, reap lapsed leases, move what is due, reserve.
-- Runs behind queue_start.lua.
--
-- KEYS, all of one queue and so in one slot ({q:<name>}); nothing expires by itself:
--   1  jobs         HASH  id -> body                    from push until settled
--   2  ready        LIST  ids, the next one at the left
--   3  delayed      ZSET  id -> due time, ms
--   4  reserved     ZSET  id -> end of the lease, ms
--   5  held         HASH  id -> fencing token, "a" if reserved alone, ":", worker
--   6  attempts     HASH  id -> tries used up; id:e -> tries that raised; id:p -> times it
--                         postponed itself             absent means 0
--   7  crashes      HASH  id -> lapses while alone      present means suspect
--   8  suspects     LIST  suspects that are ready       (a lane keeps them in `ready`, in order)
--   9  meta         HASH  token, seen, reap_after, lane_wait, drain_worker, drain_until,
--                         owing (1 if `outbox` may have entries), paused_until (ms, or 0 for
--                         ever; absent when it is not paused), paused_since, paused_by
--   10 notify       LIST  at most one token of this queue, wakes one waiting worker; a lane
--                         shares it with the other lanes
--   11 failed       ZSET  id -> when it failed, ms      trimmed here by age and count
--   12 failed_jobs  HASH  id -> body
--   13 failed_notes HASH  id -> JSON {"reason","error","attempts","job","exception","traceback"}
--   14 failed_retried HASH  id -> when it was put back, ms; its body is no longer here
--   15 stats        HASH  queue_start.lua
--   16 outbox       HASH  entry -> what still has to be done after a settlement, until some
--                         worker has done it: "e" and effects, or "c", tries, ":" and the body
--                         of a job that failed here, whose effects nobody has told ("x":
--                         one that was cancelled)
--   17 outbox_due   ZSET  entry -> time from which any worker gets it, ms
-- ARGV:
--   1 lease ms   2 jobs to reserve   3 worker   4 idle 0/1: a crash from now on can be blamed
--   on what is reserved alone   5 sum of: 1 ordered, 2 pauses count for nothing   6 max crashes
--   7 failed jobs to keep   8 ms to keep them   9 note for a job that crashed too often
--   10 Redis time in ms after which nothing may be reserved, for the caller no longer waits
--      for the reply (a frozen server runs such a call when it wakes up); 0: no limit
--   11 "", or a token: the worker never saw the answer of an earlier step, so what it holds
--      under higher tokens is handed back
--   12 token for `notify`   13 ms for which an entry of the outbox is left to who got it
--   14 how often a job may postpone itself
--   15 number of Done settlements, 16 how many of them, the first ones, have effects;
--   then id, token for each; then the effects
--   then for each other settlement: kind, id, token, delay ms or "", note or "", effects or ""
--     kinds: "retry" (uses up a try), "raised" (too, by an exception), "release" (does not),
--     "postpone" (does not, so often), "fail"
-- Reply: {now ms, reserved, refused ids, crashed ids, lapsed count, ready count,
--   ms to what is next or -1, drain 0/1, came too late to reserve 0/1, paused 0/1, owed}
--   reserved is flat: id, body, token, attempts, alone 0/1; attempts is "tries" or, when it
--   has more to tell, "tries:raised:postponed"
--   owed is flat: entry, value; of other settlements than these. The entry of a settlement is
--   "id:token"
--
-- Rules:
--   * A settlement counts only if its token is the one in `held`.
--   * Tokens rise for ever: max(last + 1, Redis time in us), so even a server that lost its
--     last writes does not hand out a token twice.
--   * A lane (ordered) reserves only while nothing is held; whatever is given back returns
--     to the front with everything that was held behind it.
--   * Nobody seen for a third of the lease: an outage; leases lapse only after another third.

local k_jobs, k_ready, k_delayed, k_reserved, k_held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local k_attempts, k_crashes, k_suspects, k_meta = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local k_notify, k_failed, k_failed_jobs, k_failed_notes = KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local k_failed_retried, k_stats, k_outbox, k_outbox_due = KEYS[14], KEYS[15], KEYS[16], KEYS[17]

local lease, want, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local idle, ordered = ARGV[4] == '1', tonumber(ARGV[5]) % 2 == 1
local force = tonumber(ARGV[5]) >= 2
local max_crashes, keep_count, keep_ms = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local crash_note, valid_until = ARGV[9], tonumber(ARGV[10])

local owed_ms, max_postponed = tonumber(ARGV[13]), tonumber(ARGV[14])

local REAP_LIMIT, DUE_LIMIT, TRIM_LIMIT, OWED_LIMIT, CHUNK = 200, 500, 200, 50, 4000
local LOOK_LIMIT = 1000 -- ready ids of which there may be no body

local late = valid_until > 0 and now > valid_until
if late then want = 0 end

-- Variadic call in pieces that fit the Lua stack.
local function many(command, key, list)
  for first = 1, #list, CHUNK do
    redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
  end
end

local function read(key, ids)
  local values = {}
  for first = 1, #ids, CHUNK do
    local part = redis.call('HMGET', key, unpack(ids, first, math.min(first + CHUNK - 1, #ids)))
    for i = 1, #part do values[first + i - 1] = part[i] end
  end
  return values
end

-- Whether `attempts` or `crashes` exists, which mostly are both absent; asked at most once.
local present = {}
local function exists(key)
  if present[key] == nil then
    local none = next(present) == nil and redis.call('EXISTS', k_attempts, k_crashes) == 0
    if none then
      present[k_attempts], present[k_crashes] = false, false
    else
      present[key] = redis.call('EXISTS', key) == 1
    end
  end
  return present[key]
end

local function token_of(value) return value and string.match(value, '^%d+') or nil end

local function push_left(key, ids)
  local reversed = {}
  for i = #ids, 1, -1 do reversed[#reversed + 1] = ids[i] end
  many('LPUSH', key, reversed)
end

local meta = redis.call('HMGET', k_meta, 'token', 'seen', 'reap_after', 'lane_wait', 'drain_worker', 'drain_until',
  'owing', 'paused_until')
local last_token, seen, reap_after = whole(meta[1]) or 0, whole(meta[2]), whole(meta[3]) or 0
local lane_wait, drain_worker, drain_until = whole(meta[4]) or 0, meta[5], whole(meta[6]) or 0
local owing, paused_until = meta[7] == '1', whole(meta[8])
local paused = not force and paused_until and (paused_until == 0 or now < paused_until)
local changes = {'seen', text(now)}

local function note(field, value)
  changes[#changes + 1] = field
  changes[#changes + 1] = value
end

if seen and now - seen > lease / 3 then
  reap_after = now + math.floor(lease / 3)
  note('reap_after', text(reap_after))
end

-- No longer held; what the caller does with the ids is its own business.
local function drop_holds(ids)
  many('ZREM', k_reserved, ids)
  many('HDEL', k_held, ids)
end

local function forget(ids)
  many('HDEL', k_jobs, ids)
  if exists(k_attempts) then
    local fields = {}
    for i = 1, #ids do
      fields[#fields + 1], fields[#fields + 2], fields[#fields + 3] = ids[i], ids[i] .. ':e', ids[i] .. ':p'
    end
    many('HDEL', k_attempts, fields)
  end
  if exists(k_crashes) then many('HDEL', k_crashes, ids) end
end

local function trim_failed()
  local old = redis.call('ZRANGEBYSCORE', k_failed, '-inf', text(now - keep_ms), 'LIMIT', 0, TRIM_LIMIT)
  local over = redis.call('ZCARD', k_failed) - #old - keep_count
  if over > 0 then
    local first = #old
    local more = redis.call('ZRANGE', k_failed, first, first + math.min(over, TRIM_LIMIT) - 1)
    for i = 1, #more do old[#old + 1] = more[i] end
  end
  if #old > 0 then
    redis.call('ZREM', k_failed, unpack(old))
    redis.call('HDEL', k_failed_jobs, unpack(old))
    redis.call('HDEL', k_failed_notes, unpack(old))
    redis.call('HDEL', k_failed_retried, unpack(old))
  end
end

local function fail(id, body, reason)
  redis.call('ZADD', k_failed, now, id)
  redis.call('HSET', k_failed_jobs, id, body)
  redis.call('HSET', k_failed_notes, id, reason)
  redis.call('HDEL', k_failed_retried, id)
  forget({id})
end

-- What has to be done after a settlement; the caller gets it unless it is due at once.
local owes, owes_due = {}, {}

local function owe(entry, value, due)
  owes[#owes + 1], owes[#owes + 2] = entry, value
  owes_due[#owes_due + 1], owes_due[#owes_due + 2] = text(due), entry
end

-- The store gives a job up by itself: what follows has to be found out from its body.
local function give_up(id, token, note_text)
  local body = redis.call('HGET', k_jobs, id)
  local tries = redis.call('HGET', k_attempts, id) or '0'
  fail(id, body, note_text)
  owe(id .. ':' .. token, 'c' .. tries .. ':' .. body, now)
end

-- Into the queue again: suspects apart, unless the queue is a lane.
local again_ready = 0
local function enqueue(ids, at_front)
  if #ids == 0 then return end
  if not at_front then again_ready = again_ready + #ids end
  local plain, suspect = ids, {}
  if not ordered and exists(k_crashes) then
    plain = {}
    local counts = read(k_crashes, ids)
    for i = 1, #ids do
      local list = counts[i] and suspect or plain
      list[#list + 1] = ids[i]
    end
  end
  if at_front then push_left(k_ready, plain) else many('RPUSH', k_ready, plain) end
  many('RPUSH', k_suspects, suspect)
end

---------------------------------------------------------------------------- settle

local refused, returned, failures = {}, {}, 0 -- returned: {id, token} of a lane, {id} else
local done_count, effect_count = tonumber(ARGV[15]), tonumber(ARGV[16])
local next_arg = 17
local finished = 0

local function settle_done()
  if done_count == 0 then return end
  local ids, tokens, mine = {}, {}, {}
  for i = 1, done_count do
    ids[i], tokens[i] = ARGV[next_arg], ARGV[next_arg + 1]
    next_arg = next_arg + 2
  end
  local held = read(k_held, ids)
  for i = 1, done_count do
    local list = token_of(held[i]) == tokens[i] and mine or refused
    list[#list + 1] = ids[i]
    if i <= effect_count then
      if list == mine then owe(ids[i] .. ':' .. tokens[i], 'e' .. ARGV[next_arg], now + owed_ms) end
      next_arg = next_arg + 1
    end
  end
  drop_holds(mine)
  if #mine > 0 then forget(mine) end
  finished = #mine
end

-- A try that ended without killing its worker clears a suspect that never crashed alone.
local function count_try(id)
  increase(k_attempts, id, 1)
  present[k_attempts] = true
  if redis.call('HGET', k_crashes, id) == '0' then redis.call('HDEL', k_crashes, id) end
end

local front, back = {}, {}

local function give_back(kind, id, token, delay)
  local tried = kind == 'retry' or kind == 'raised'
  if kind == 'postpone' then
    present[k_attempts] = true
    tried = increase(k_attempts, id .. ':p', 1) > max_postponed
  elseif kind == 'raised' then
    increase(k_attempts, id .. ':e', 1)
  end
  if tried then count_try(id) end
  if ordered then
    returned[#returned + 1] = {id, tonumber(token)}
    if delay > 0 then
      lane_wait = math.max(lane_wait, after(delay))
      note('lane_wait', text(lane_wait))
    end
  elseif delay > 0 then
    redis.call('ZADD', k_delayed, text(after(delay)), id)
  elseif kind == 'release' then
    front[#front + 1] = id
  else
    back[#back + 1] = id
  end
end

local function settle_others()
  while next_arg <= #ARGV do
    local kind, id, token = ARGV[next_arg], ARGV[next_arg + 1], ARGV[next_arg + 2]
    local delay, reason = tonumber(ARGV[next_arg + 3]) or 0, ARGV[next_arg + 4]
    local effects = ARGV[next_arg + 5]
    next_arg = next_arg + 6
    if token_of(redis.call('HGET', k_held, id)) ~= token then
      refused[#refused + 1] = id
    else
      drop_holds({id})
      local body = kind == 'fail' and redis.call('HGET', k_jobs, id)
      if body then
        fail(id, body, reason)
        failures = failures + 1
        if effects ~= '' then owe(id .. ':' .. token, 'e' .. effects, now + owed_ms) end
      elseif kind ~= 'fail' then
        give_back(kind, id, token, delay)
      end
    end
  end
end

-- Everything held, as {id, token}, that `wanted` accepts by token and owner.
local function held_where(wanted)
  local all, found = redis.call('HGETALL', k_held), {}
  for i = 1, #all, 2 do
    local token, owner = string.match(all[i + 1], '^(%d+)a?:?(.*)$')
    if wanted(tonumber(token), owner) then found[#found + 1] = {all[i], tonumber(token)} end
  end
  table.sort(found, function(one, other) return one[2] < other[2] end)
  return found
end

local function recover(last_seen)
  if not last_seen then return end
  local lost = held_where(function(token, owner) return owner == worker and token > last_seen end)
  for i = 1, #lost do
    drop_holds({lost[i][1]})
    give_back('release', lost[i][1], lost[i][2], 0)
  end
end

settle_done()
settle_others()
recover(tonumber(ARGV[11]))
enqueue(front, true)
enqueue(back, false)

---------------------------------------------------------------------------- reap

local crashed, lapsed = {}, {}

-- Counts a lapse; false when the job is out of crashes (or its body is lost).
local function suspect(id, value)
  local body_there = redis.call('HEXISTS', k_jobs, id) == 1
  if not body_there then
    forget({id})
    return false
  end
  present[k_crashes] = true
  if not string.find(value or '', '^%d+a') then
    redis.call('HSETNX', k_crashes, id, 0)
    return true
  end
  if increase(k_crashes, id, 1) < max_crashes then return true end
  give_up(id, token_of(value) or '0', crash_note)
  failures = failures + 1
  crashed[#crashed + 1] = id
  return false
end

local function first_of(key) return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end

local next_lapse = first_of(k_reserved)
if next_lapse and next_lapse <= now and now >= reap_after then
  lapsed = redis.call('ZRANGEBYSCORE', k_reserved, '-inf', now, 'LIMIT', 0, REAP_LIMIT)
end
if #lapsed > 0 then
  local values, again = read(k_held, lapsed), {}
  drop_holds(lapsed)
  for i = 1, #lapsed do
    if suspect(lapsed[i], values[i]) then
      if ordered then
        returned[#returned + 1] = {lapsed[i], tonumber(token_of(values[i])) or 0}
      else
        again[#again + 1] = lapsed[i]
      end
    end
  end
  enqueue(again, false)
end

-- A lane takes back what was held behind a returned job, and keeps the order of tokens.
if ordered and (#returned > 0 or #lapsed > 0) then
  local lowest = 0
  if #lapsed == 0 then
    lowest = returned[1][2]
    for i = 2, #returned do lowest = math.min(lowest, returned[i][2]) end
  end
  local held, behind = held_where(function(token) return token > lowest end), {}
  for i = 1, #held do
    returned[#returned + 1] = held[i]
    behind[i] = held[i][1]
  end
  drop_holds(behind)
  table.sort(returned, function(one, other) return one[2] < other[2] end)
  local ids = {}
  for i = 1, #returned do ids[i] = returned[i][1] end
  push_left(k_ready, ids)
end
if #lapsed > 0 or (ordered and #returned > 0) then next_lapse = first_of(k_reserved) end
if failures > 0 then trim_failed() end

---------------------------------------------------------------------------- move due

local next_due = first_of(k_delayed)
if next_due and next_due <= now then
  local due = redis.call('ZRANGEBYSCORE', k_delayed, '-inf', now, 'LIMIT', 0, DUE_LIMIT)
  many('ZREM', k_delayed, due)
  enqueue(due, false)
  next_due = first_of(k_delayed)
end

-- A queue that was plain before it became a lane may have left suspects apart.
local suspects = exists(k_crashes) and redis.call('LLEN', k_suspects) or 0
if ordered and suspects > 0 then
  push_left(k_ready, redis.call('LRANGE', k_suspects, 0, -1))
  redis.call('DEL', k_suspects)
  suspects = 0
end

---------------------------------------------------------------------------- reserve

local reserved, taken, looked, drain = {}, 0, 0, 0

local function reserve(ids, alone)
  if #ids == 0 then return end
  looked = looked + #ids
  local bodies, attempts = read(k_jobs, ids), {}
  if exists(k_attempts) then
    attempts = read(k_attempts, ids)
    local more = {}
    for i = 1, #ids do more[i * 2 - 1], more[i * 2] = ids[i] .. ':e', ids[i] .. ':p' end
    more = read(k_attempts, more)
    for i = 1, #ids do
      local raised, postponed = more[i * 2 - 1], more[i * 2]
      if raised or postponed then
        attempts[i] = (attempts[i] or '0') .. ':' .. (raised or '0') .. ':' .. (postponed or '0')
      end
    end
  end
  local ends, holds, lease_end = {}, {}, text(after(lease))
  last_token = math.max(last_token, now_us - 1)
  for i = 1, #ids do
    if bodies[i] then
      last_token = last_token + 1
      local token = text(last_token)
      ends[#ends + 1], ends[#ends + 2] = lease_end, ids[i]
      holds[#holds + 1], holds[#holds + 2] = ids[i], token .. (alone and 'a:' or ':') .. worker
      local at = #reserved
      reserved[at + 1], reserved[at + 2], reserved[at + 3] = ids[i], bodies[i], token
      reserved[at + 4], reserved[at + 5] = attempts[i] or '0', alone and 1 or 0
      taken = taken + 1
    end
  end
  many('ZADD', k_reserved, ends)
  many('HSET', k_held, holds)
  note('token', text(last_token))
end

-- May this busy worker stop reserving until it is idle? One at a time, for one lease, and
-- then a lease of rest, so that a job of an hour does not stall the slots beside it.
local function must_drain()
  if drain_worker == worker and now < drain_until then return true end
  if now < drain_until + lease then return false end
  note('drain_worker', worker)
  note('drain_until', text(now + lease))
  return true
end

local function reserve_plain()
  if suspects > 0 then
    if idle then
      reserve({redis.call('LPOP', k_suspects)}, true)
      suspects = suspects - 1
      note('drain_until', '0')
      if taken > 0 then return end
    elseif must_drain() then
      drain = 1
      return
    end
  end
  while taken < want and looked < LOOK_LIMIT do
    local ids = redis.call('LPOP', k_ready, want - taken)
    if not ids then return end
    reserve(ids, false)
  end
end

local function reserve_lane()
  if now < lane_wait or next_lapse then return end
  while taken == 0 and looked < LOOK_LIMIT do
    local ids, alone = redis.call('LRANGE', k_ready, 0, want - 1), false
    if #ids == 0 then return end
    if exists(k_crashes) then
      local counts = read(k_crashes, ids)
      alone = counts[1] and true or false
      for i = 1, #ids do
        if (alone and i > 1) or counts[i] and not alone then
          for j = #ids, i, -1 do ids[j] = nil end
          break
        end
      end
    end
    redis.call('LTRIM', k_ready, #ids, -1)
    reserve(ids, alone and idle)
  end
end

if want > 0 and not paused then
  if ordered then reserve_lane() else reserve_plain() end
end

---------------------------------------------------------------------------- owed

local owed = {}
if #owes > 0 then
  many('HSET', k_outbox, owes)
  many('ZADD', k_outbox_due, owes_due)
  if not owing then note('owing', '1') end
  owing = true
end
local next_owed = owing and first_of(k_outbox_due)
if owing and not next_owed then note('owing', '0') end
if next_owed and next_owed <= now and not late then
  local entries = redis.call('ZRANGEBYSCORE', k_outbox_due, '-inf', now, 'LIMIT', 0, OWED_LIMIT)
  local values, later = read(k_outbox, entries), {}
  for i = 1, #entries do
    owed[i * 2 - 1], owed[i * 2] = entries[i], values[i] or ''
    later[i * 2 - 1], later[i * 2] = text(now + owed_ms), entries[i]
  end
  redis.call('ZADD', k_outbox_due, unpack(later))
  next_owed = first_of(k_outbox_due)
end

---------------------------------------------------------------------------- wake, reply

tally(k_stats, 'r', again_ready)
tally(k_stats, 'd', finished)
tally(k_stats, 'f', failures)
redis.call('HSET', k_meta, unpack(changes))

local ready = redis.call('LLEN', k_ready) + suspects
-- Somebody else may take what is left: wake one waiting worker. Not when this worker got
-- less than it wanted, for then nobody may have the rest now.
local lane_busy = ordered and (taken > 0 or now < lane_wait)
if ready > 0 and not paused and not lane_busy and (want == 0 or taken > 0 or drain == 1)
    and not redis.call('LPOS', k_notify, ARGV[12]) then
  redis.call('LPUSH', k_notify, ARGV[12])
end

local next_ms = -1
local function at(moment)
  local wait = math.max(0, moment - now)
  if next_ms < 0 or wait < next_ms then next_ms = wait end
end

if taken < looked and looked >= LOOK_LIMIT then at(now) end
if taken > 0 then next_lapse = math.min(next_lapse or after(lease), after(lease)) end
if next_due then at(next_due) end
if next_lapse then at(math.max(next_lapse, reap_after)) end
if ordered and now < lane_wait then at(lane_wait) end
if next_owed then at(next_owed) end
if paused and paused_until > 0 then at(paused_until) end

return {now, reserved, refused, crashed, #lapsed, ready, next_ms, drain, late and 1 or 0,
  paused and 1 or 0, owed}
