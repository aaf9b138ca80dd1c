-- Announces users whose time to come back is over, a batch of 200 at most. Anyone may call it.
--
-- KEYS  as in presence_channel
-- ARGV  1 topic
-- Reply ms until the next call is due, -1 when nobody is leaving
-- Expiry as in presence_channel

finish_due()
return next_due()
