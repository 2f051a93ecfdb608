-- Writes or removes one entry of ASP.NET Core's distributed cache if its condition holds: the new hash of its data, or false for a
-- conflict; 'broken' where the key holds a hash that is no entry.
-- KEYS: the entry.
-- ARGV: mode (overwrite, create, update, delete), expected hash (its first 32 digits, or empty), now (ticks), data,
--       absolute expiry (ticks, or -1), sliding expiry (ticks, or -1), time to live (ms; empty for never; 0 for expired already).
local key, mode, expected, now = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('HMGET', key, 'absexp', 'data')
local absolute, current = found[1], found[2]
if not current and redis.call('EXISTS', key) == 1 then return 'broken' end
-- Ticks are beyond what a number holds exactly; as texts of one length they compare as they should.
if current and absolute and #absolute == #now and absolute <= now then current = false end
if mode == 'create' and current then return false end
if expected ~= '' and (not current or string.sub(redis.sha1hex(current), 1, 32) ~= expected) then return false end
if mode == 'delete' or ARGV[7] == '0' then
  redis.call('DEL', key)
  return mode == 'delete' and '' or redis.sha1hex(ARGV[4])
end
redis.call('HSET', key, 'absexp', ARGV[5], 'sldexp', ARGV[6], 'data', ARGV[4])
if ARGV[7] == '' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, ARGV[7]) end
return redis.sha1hex(ARGV[4])
