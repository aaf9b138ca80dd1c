-- Forgets facts of an outbox that were queued, and hands out those that come next. One at a
-- time does so; the outbox is found empty, and the lock given back, in the same moment.
--
-- KEYS (one slot: {nodes}, or that of a channel)
--   1 facts  ZSET    fact, scored by its number; and "!", scored by the number of facts that
--                    found the outbox full
--   2 lock   STRING  token of whoever is at it
-- ARGV  1 token
--       2 ms for which the lock is held at most
--       3 facts at a time
--       4 and following: facts that were queued
-- Reply {lost, ms, fact, ...}: how many found the outbox full since the last call; ms for which
--       somebody else is at it at most, 0 when it is the caller's turn; no fact means that
--       there are none, or that it is not
-- Expiry: lock by its time; facts none

for i = 4, #ARGV do
  redis.call('ZREM', KEYS[1], ARGV[i])
end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
  return {0, math.max(1, redis.call('PTTL', KEYS[2]))}
end
local lost = redis.call('ZSCORE', KEYS[1], '!')
if lost then
  redis.call('ZREM', KEYS[1], '!')
end
local reply = {tonumber(lost or 0), 0}
for _, fact in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1)) do
  reply[#reply + 1] = fact
end
if #reply == 2 then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
return reply
