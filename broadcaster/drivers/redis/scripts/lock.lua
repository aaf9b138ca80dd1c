-- A lock of a job's reservation.
--
-- KEYS: 1 lock STRING "job id:token" of who has it; expires `lease` after the last renewal
-- ARGV: 1 "acquire", "renew" or "release", 2 job id, 3 token, 4 lease ms
-- Reply: acquire: 0, or the ms until it expires unless it is renewed (at least 1;
--   one without an expiry gets the lease from now);
--   renew, release: 1, or 0 when another or nobody has it.
-- A later reservation of a job takes its lock over from an earlier one. Safe to repeat.

local mine = ARGV[2] .. ':' .. ARGV[3]
local owner = redis.call('GET', KEYS[1])
if ARGV[1] == 'release' then
  return owner == mine and redis.call('DEL', KEYS[1]) or 0
elseif ARGV[1] == 'renew' then
  return owner == mine and redis.call('PEXPIRE', KEYS[1], ARGV[4]) or 0
end
if owner then
  local job, token = string.match(owner, '^(.*):(%d+)$')
  if job ~= ARGV[2] or tonumber(token) > tonumber(ARGV[3]) then
    local left = redis.call('PTTL', KEYS[1])
    if left < 0 then  -- as after a PERSIST by hand: without an end nobody would get it again
      left = tonumber(ARGV[4])
      redis.call('PEXPIRE', KEYS[1], left)
    end
    return math.max(1, left)
  end
end
redis.call('SET', KEYS[1], mine, 'PX', ARGV[4])
return 0
