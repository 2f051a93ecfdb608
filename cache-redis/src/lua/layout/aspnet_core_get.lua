-- Reads one entry of ASP.NET Core's distributed cache: false, or its hash, its absolute expiry (ticks, -1 for none) and, if
-- wanted, its data. A sliding expiry begins anew, as it does when a .NET program reads; 'broken' for a hash without data.
-- KEYS: the entry. ARGV: want (1 or 0).
local found = redis.call('HMGET', KEYS[1], 'absexp', 'sldexp', 'data')
local absolute, sliding, data = found[1] or '-1', tonumber(found[2] or '-1'), found[3]
if not data then return redis.call('EXISTS', KEYS[1]) == 1 and 'broken' or false end
if sliding and sliding > 0 then
  local left = math.floor(sliding / 10000)
  if tonumber(absolute) and tonumber(absolute) > 0 then
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    -- Ticks are beyond what a number holds exactly, but the server's expiry need not be exact.
    left = math.min(left, math.floor((tonumber(absolute) - 621355968000000000) / 10000) - now)
  end
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(left, 0)))
end
return {redis.sha1hex(data), absolute, ARGV[1] == '1' and data or ''}
