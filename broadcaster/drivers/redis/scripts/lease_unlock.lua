-- Gives the sweepers' lock back, if it is still ours.
--
-- KEYS (slot {nodes})
--   1 lock  STRING  token of the sweeper
-- ARGV  1 token
-- Reply 1 if it was ours, else 0
-- Expiry: none

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
