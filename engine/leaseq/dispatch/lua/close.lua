-- close: forget a worker, once its processing list is empty.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:leases   KEYS[3] PREFIX:{Q}:beats
-- ARGV[1] worker id
-- Returns 1, or 0 if the list still holds deliveries (bring them back first).
if redis.call('LLEN', KEYS[1]) > 0 then
    return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
