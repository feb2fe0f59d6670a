-- open: begin (or begin again) the lease of an incarnation that the ledger says is open, before its first pull.
-- KEYS[1] PREFIX:{Q}:leases   KEYS[2] PREFIX:{Q}:beats   KEYS[3] PREFIX:{Q}:epoch
-- ARGV[1] worker id   ARGV[2] lease in milliseconds   ARGV[3] a random value, used if there is no epoch yet
-- Returns the epoch. The deadline is by the clock of this server.
redis.call('GET', KEYS[3])
redis.call('HLEN', KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
redis.call('SET', KEYS[3], ARGV[3], 'NX')
return redis.call('GET', KEYS[3])
