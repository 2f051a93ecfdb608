-- Removes the index entry of a record that is gone: 1 removed, 0 the record is there.
-- KEYS: the record, its bucket's index, its bucket's expiries. ARGV: store key.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
