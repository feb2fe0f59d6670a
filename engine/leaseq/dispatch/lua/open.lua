-- open: begin (or begin again) the lease of a worker that the ledger says is open, before its first pull.
-- KEYS[1] PREFIX:{Q}:leases   KEYS[2] PREFIX:{Q}:beats   KEYS[3] PREFIX:{Q}:epoch
-- ARGV[1] worker id   ARGV[2] lease in milliseconds   ARGV[3] a random value, used if there is no epoch yet
-- Returns the epoch, cut at 64 bytes. The deadline is by the clock of this server. A beat that is no number begins again at 1.
local length = redis.call('STRLEN', KEYS[3])
redis.call('HLEN', KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
if type(redis.pcall('HINCRBY', KEYS[2], ARGV[1], 1)) ~= 'number' then
    redis.call('HSET', KEYS[2], ARGV[1], 1)
end
if length == 0 then redis.call('SET', KEYS[3], ARGV[3]) end
return redis.call('GETRANGE', KEYS[3], 0, 63)
