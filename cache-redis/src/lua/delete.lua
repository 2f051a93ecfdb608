-- Removes one record if its condition holds: 1 removed or absent, 0 conflict, -1 the key holds what is not a record.
-- KEYS: the record, its bucket's index, its bucket's expiries.
-- ARGV: expected version (empty for any), now (ms), store key, channel, announcement, settle (1 or 0).
local record, index, expiries = KEYS[1], KEYS[2], KEYS[3]
local expected, now, key, channel, announcement = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]

local found = redis.call('HMGET', record, 'v', 'e')
local current, expiry = found[1], found[2]
local stored = current
if current then
  if #current ~= 16 or (expiry and not tonumber(expiry)) then return -1 end
elseif redis.call('EXISTS', record) == 1 then
  return -1
end
if current and expiry and tonumber(expiry) <= now then current = false end
if expected ~= '' and current ~= expected then return 0 end

-- What stands in the index's place may be another program's: then this fails before anything was changed.
redis.call('ZRANGEBYLEX', index, '[' .. key, '[' .. key)
redis.call('ZREM', expiries, key)

if stored then
  redis.call('PUBLISH', channel, announcement)
  redis.call('DEL', record)
elseif ARGV[6] == '1' then
  -- The record may have been removed by a write that no replica has yet. WAIT waits for the writes of its own
  -- connection only, so there must be one; replicas that have it have all that came before.
  redis.call('ZADD', index, 0, key)
end
redis.call('ZREM', index, key)
return 1
