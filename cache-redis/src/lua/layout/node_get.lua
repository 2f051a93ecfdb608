-- Reads one document of MSAL Node: false, or its hash, its expiry (ms, or empty) and, if wanted, itself.
-- KEYS: the document. ARGV: want (1 or 0).
local document = redis.call('GET', KEYS[1])
if not document then return false end
-- PEXPIRETIME came with Redis 7.0.
local expiry = redis.pcall('PEXPIRETIME', KEYS[1])
if type(expiry) == 'table' then
  local time, left = redis.call('TIME'), redis.call('PTTL', KEYS[1])
  expiry = left < 0 and left or tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + left
end
local shown = expiry < 0 and '' or string.format('%.0f', expiry)
return {redis.sha1hex(document), shown, ARGV[1] == '1' and document or ''}
