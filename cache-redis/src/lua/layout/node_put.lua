-- Writes or removes one document of MSAL Node if its condition holds: its new hash, or false for a conflict.
-- KEYS: the document.
-- ARGV: mode (overwrite, create, update, delete), expected hash (its first 32 digits, or empty), now (ms), document,
--       expires at (ms, or empty).
local key, mode, expected, now = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local current = redis.call('GET', key)
if current then
  local expiry = redis.pcall('PEXPIRETIME', key)
  if type(expiry) == 'table' then
    local time, left = redis.call('TIME'), redis.call('PTTL', key)
    expiry = left < 0 and left or tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + left
  end
  if expiry >= 0 and expiry <= now then current = false end
end
if mode == 'create' and current then return false end
if expected ~= '' and (not current or string.sub(redis.sha1hex(current), 1, 32) ~= expected) then return false end
if mode == 'delete' then
  redis.call('DEL', key)
  return ''
end
-- One command: a document without its expiry, because the second was forbidden or refused, would stay for ever.
if ARGV[5] == '' then redis.call('SET', key, ARGV[4]) else redis.call('SET', key, ARGV[4], 'PXAT', ARGV[5]) end
return redis.sha1hex(ARGV[4])
