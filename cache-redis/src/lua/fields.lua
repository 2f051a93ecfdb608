-- Reads some fields of a record at one moment: those fields, 0 where there is no record, -1 for what has none of them.
-- KEYS: the record. ARGV: the fields.
local found = redis.call('HMGET', KEYS[1], unpack(ARGV))
for place = 1, #ARGV do
  if found[place] then return found end
end
return redis.call('EXISTS', KEYS[1]) == 1 and -1 or 0
