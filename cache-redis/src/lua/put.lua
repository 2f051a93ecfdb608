-- Writes one record if its condition holds: 1 written, 0 conflict, -1 the key holds what is not a record.
-- KEYS: the record, its bucket's index, its bucket's expiries.
-- ARGV: mode (overwrite, create, update), expected version, now (ms), version, payload, expires at (ms, or empty),
--       time to live (ms; empty for never; 0 for expired already), store key, channel, announcement.
local record, index, expiries = KEYS[1], KEYS[2], KEYS[3]
local mode, expected, now, version, payload = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local expires_at, lifetime, key, channel, announcement = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]

local found = redis.call('HMGET', record, 'v', 'e')
local current, expiry = found[1], found[2]
if current then
  if #current ~= 16 or (expiry and not tonumber(expiry)) then return -1 end
elseif redis.call('EXISTS', record) == 1 then
  return -1
end
if current and expiry and tonumber(expiry) <= now then current = false end
if mode == 'create' and current then return 0 end
if mode == 'update' and current ~= expected then return 0 end

-- Redis 6.2 cannot be asked beforehand.
local function demand(...)
  if redis.acl_check_cmd and not redis.acl_check_cmd(...) then
    return redis.error_reply('NOPERM the user may not run ' .. ({...})[1])
  end
end

-- A record that goes on living as it did, which is nearly every write: only what changes is written. All but the last command may
-- fail and leave everything as it was, since a key that stands in the index twice stands there once.
if mode == 'update' and not expiry and lifetime == '' then
  redis.call('PUBLISH', channel, announcement)
  redis.call('ZADD', index, 0, key)
  redis.call('HSET', record, 'v', version, 'd', payload)
  return 1
end

local function removal_at(now)
  return string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + tonumber(lifetime))
end
if mode == 'update' and expiry and lifetime ~= '' and lifetime ~= '0' then
  local forbidden = demand('HSET', record, 'v', version) or demand('PEXPIREAT', record, 0)
  if forbidden then return forbidden end
  redis.call('PUBLISH', channel, announcement)
  local removal = removal_at(redis.call('TIME'))
  redis.call('ZADD', index, 0, key)
  redis.call('ZADD', expiries, removal, key)
  redis.call('HSET', record, 'v', version, 'd', payload, 'e', expires_at)
  redis.call('PEXPIREAT', record, removal)
  return 1
end

-- Before the first write: a user who may not do all of it gets an error here, and nothing was changed.
local forbidden
if lifetime == '0' then
  forbidden = demand('DEL', record)
else
  forbidden = demand('HSET', record, 'v', version) or demand('ZADD', index, 0, key)
  if lifetime == '' then
    forbidden = forbidden or demand('PERSIST', record)
  else
    forbidden = forbidden or demand('PEXPIREAT', record, 0) or demand('ZADD', expiries, 0, key)
  end
  if expiry and expires_at == '' then forbidden = forbidden or demand('HDEL', record, 'e') end
end
forbidden = forbidden or demand('ZREM', index, key) or demand('ZREM', expiries, key)
  or demand('ZRANGEBYSCORE', expiries, '-inf', 0) or demand('TIME')
if forbidden then return forbidden end
redis.call('PUBLISH', channel, announcement)

local time = redis.call('TIME')
local server_now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if lifetime == '0' then
  redis.call('DEL', record)
  redis.call('ZREM', index, key)
  redis.call('ZREM', expiries, key)
else
  -- The index before the record: what stands there may be another program's, or forbidden to this user, and then the
  -- record is as it was. The first write is one that needs memory, because a server without it refuses no later one.
  redis.call('ZADD', index, 0, key)
  redis.call('ZREM', expiries, key)
  if expires_at == '' then
    redis.call('HSET', record, 'v', version, 'd', payload)
    if expiry then redis.call('HDEL', record, 'e') end
  else
    redis.call('HSET', record, 'v', version, 'd', payload, 'e', expires_at)
  end
  if lifetime == '' then
    redis.call('PERSIST', record)
  else
    local removal = removal_at(time)
    redis.call('PEXPIREAT', record, removal)
    redis.call('ZADD', expiries, removal, key)
  end
end

-- Index entries of records that the server has removed meanwhile, by the same clock.
local gone = redis.call('ZRANGEBYSCORE', expiries, '-inf', string.format('%.0f', server_now - 1000), 'LIMIT', 0, 16)
for _, member in ipairs(gone) do
  redis.call('ZREM', index, member)
  redis.call('ZREM', expiries, member)
end
return 1
