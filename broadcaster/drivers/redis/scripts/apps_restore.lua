-- Writes the list of apps back after it was lost. Repeating it changes nothing.
--
-- KEYS  1 hash    app id -> the app, as JSON
--       2 hash    app key -> app id
--       3 string  version of the list
-- ARGV  1 topic of changes to the list
--       2 new version
--       3 the control message, in its envelope
--       4.. id, key and JSON of each app
-- Reply 1; 0 if there is a list, and then nothing was changed
-- Expiry: nothing expires

if redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end
for i = 4, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  redis.call('HSET', KEYS[2], ARGV[i + 1], ARGV[i])
end
redis.call('SET', KEYS[3], ARGV[2])
redis.call('PUBLISH', ARGV[1], ARGV[3])
return 1
