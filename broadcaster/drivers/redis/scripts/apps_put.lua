-- Adds, changes or removes one app and tells every node. Repeating it changes nothing.
--
-- KEYS  1 hash    app id -> the app, as JSON
--       2 hash    app key -> app id
--       3 string  version of the list
-- ARGV  1 topic of changes to the list
--       2 most apps kept
--       3 new version
--       4 the control message, in its envelope
--       5 app id
--       6 its key; empty to remove the app
--       7 the app, as JSON
--       8 the JSON that it replaces; empty for a new app
-- Reply 1; 0 if there was nothing to remove; -1 if it is not what it replaces; -2 if another
--       app has its key; -3 if there is no room. Nothing was changed then
-- Expiry: nothing expires

local TABLES, OWNERS, VERSION = KEYS[1], KEYS[2], KEYS[3]
local id, key, app, expected = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

local function forget_keys()
  local all = redis.call('HGETALL', OWNERS)
  for i = 1, #all, 2 do
    if all[i + 1] == id and all[i] ~= key then
      redis.call('HDEL', OWNERS, all[i])
    end
  end
end

local function tell()
  redis.call('SET', VERSION, ARGV[3])
  redis.call('PUBLISH', ARGV[1], ARGV[4])
end

local known = redis.call('HGET', TABLES, id) or ''

if key == '' then
  if known == '' then
    return 0
  end
  redis.call('HDEL', TABLES, id)
  forget_keys()
  tell()
  return 1
end

if known == app then
  return 1
end
if known ~= expected then
  return -1
end
local owner = redis.call('HGET', OWNERS, key)
if owner and owner ~= id then
  return -2
end
if known == '' and redis.call('HLEN', TABLES) >= tonumber(ARGV[2]) then
  return -3
end
redis.call('HSET', TABLES, id, app)
forget_keys()
redis.call('HSET', OWNERS, key, id)
tell()
return 1
