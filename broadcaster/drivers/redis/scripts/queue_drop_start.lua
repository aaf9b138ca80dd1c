-- Forgetting jobs that nobody is to run. Not a script of its own: this text stands in front of
-- queue_cancel and queue_clear, which take these keys.
--
-- KEYS: 1 jobs, 2 ready, 3 delayed, 4 suspects, 5 attempts, 6 crashes, 7 reserved, 8 held,
--   9 meta, 10 outbox, 11 outbox_due, 12 notify (types: queue_step.lua)
-- ARGV[1] token for `notify`
--
-- What follows from a forgotten job (its batch counts it, its chain breaks) is found out from its
-- body by some worker: "x", tries, ":" and the body in the outbox, due at once.

local k_jobs, k_attempts, k_crashes = KEYS[1], KEYS[5], KEYS[6]
local k_meta, k_outbox, k_outbox_due, k_notify = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local CHUNK = 100 -- bodies may be large

local function concerns_others(body)
  return string.find(body, '"batch":{', 1, true) or string.find(body, '"chain":{', 1, true)
end

local function drop_some(ids, all)
  local clock = redis.call('TIME')
  local now = string.format('%.0f', tonumber(clock[1]) * 1000)
  local bodies, tries = redis.call('HMGET', k_jobs, unpack(ids)), redis.call('HMGET', k_attempts, unpack(ids))
  local fields, entries, due, count = {}, {}, {}, 0
  for i = 1, #ids do
    local id, body = ids[i], bodies[i]
    if body then count = count + 1 end
    if body and (all or concerns_others(body)) then
      entries[#entries + 1], entries[#entries + 2] = id .. ':x', 'x' .. (tries[i] or '0') .. ':' .. body
      due[#due + 1], due[#due + 2] = now, id .. ':x'
    end
    fields[#fields + 1], fields[#fields + 2], fields[#fields + 3] = id, id .. ':e', id .. ':p'
  end
  if #entries > 0 then
    redis.call('HSET', k_outbox, unpack(entries))
    redis.call('ZADD', k_outbox_due, unpack(due))
    redis.call('HSET', k_meta, 'owing', '1')
    if not redis.call('LPOS', k_notify, ARGV[1]) then redis.call('LPUSH', k_notify, ARGV[1]) end
  end
  redis.call('HDEL', k_jobs, unpack(ids))
  redis.call('HDEL', k_attempts, unpack(fields))
  redis.call('HDEL', k_crashes, unpack(ids))
  return count
end

-- Forgets the bodies of these jobs; returns how many there were. Without `all` only jobs that
-- others wait for are told of.
local function drop(ids, all)
  local count = 0
  for first = 1, #ids, CHUNK do
    local some = {}
    for i = first, math.min(first + CHUNK - 1, #ids) do some[#some + 1] = ids[i] end
    count = count + drop_some(some, all)
  end
  return count
end

