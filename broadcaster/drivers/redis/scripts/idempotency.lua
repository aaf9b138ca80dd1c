-- Begins or finishes ONE request that has an idempotency key.
--
-- KEYS
--   1  string  fingerprint of the request, then its first answer once there is one
-- ARGV
--   1  fingerprint  32 bytes
--   2  answer       empty to begin
--   3  seconds      how long it is remembered
-- Reply: {same, answer}; same is 0 when the key belongs to another request, answer is the
-- first one, or empty when none was given yet.
-- Expiry: this script sets it, when the request begins and again when it is answered.
--
-- Repeating a call changes nothing: what begins again finds its own fingerprint, what
-- finishes again finds an answer.
local known = redis.call('GET', KEYS[1])
if known then
  if string.sub(known, 1, 32) ~= ARGV[1] then
    return {0, ''}
  end
  if #known > 32 then
    return {1, string.sub(known, 33)}
  end
end
if not known or ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'EX', ARGV[3])
end
return {1, ARGV[2]}
