-- Does what is due: says that channels are vacated, tells numbers that were held back. A batch
-- of 200 of each at most. Anyone may call it, at any time.
--
-- KEYS  as in occupancy_totals
-- ARGV  1 prefix of topics
-- Reply {ms until the next call is due, -1 for none; facts in the outbox}
-- Expiry as in occupancy_totals

look()
redis.call('HLEN', TOTALS)
local due = redis.call('ZRANGEBYSCORE', VACATING, '-inf', now, 'WITHSCORES', 'LIMIT', 0, BATCH)
for i = 1, #due, 2 do
  if redis.call('HEXISTS', TOTALS, due[i]) == 1 then
    redis.call('ZREM', VACATING, due[i])
  else
    vacate(due[i], tonumber(due[i + 1]))
  end
end
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', COUNTING, '-inf', now, 'LIMIT', 0, BATCH)) do
  show(entry, read_count(redis.call('HGET', TOTALS, entry)))
end

local wait = -1
for _, key in ipairs({VACATING, COUNTING}) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then
    local ms = math.max(0, tonumber(first[2]) - now)
    wait = wait < 0 and ms or math.min(wait, ms)
  end
end
return {wait, redis.call('ZCARD', FACTS)}
