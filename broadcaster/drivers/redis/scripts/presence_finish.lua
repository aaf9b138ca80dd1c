-- Announces users whose time to come back is over, a batch of 200 at most. Anyone may call it.
--
-- KEYS  as in presence_channel
-- ARGV  1 topic
-- Reply ms until the next call is due, -1 when nobody is leaving and no fact waits
-- Expiry as in presence_channel

finish_due()
local due = next_due()
if due < 0 and redis.call('EXISTS', FACTS) == 1 then
  return 1000 -- the caller's index must name the channel until they are queued
end
return due
