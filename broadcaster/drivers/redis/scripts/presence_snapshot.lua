-- Reads the list and its version as of one moment.
--
-- KEYS  as in presence_channel
-- ARGV  1 topic
-- Reply {version, {user id, ...}, {Member.data, ...}} oldest first
-- Expiry none

return snapshot()
