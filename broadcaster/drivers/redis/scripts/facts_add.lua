-- Puts facts of a channel's outbox into that of all channels, where somebody will find them.
-- Repeating it changes nothing.
--
-- KEYS (slot {nodes})
--   1 facts  ZSET  fact, scored by its number; and "!", scored by the number of facts that found
--                  the outbox full
-- ARGV  1 facts that the outbox holds at most
--       2, 3 and following: number, fact
-- Reply OK
-- Expiry: none

for i = 2, #ARGV, 2 do
  if redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1])
  else
    redis.call('ZINCRBY', KEYS[1], 1, '!')
  end
end
return redis.status_reply('OK')
