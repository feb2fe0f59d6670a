-- epoch: read the epoch of dispatch, or begin one.
-- KEYS[1] PREFIX:epoch
-- ARGV[1] a random value, set if there is no epoch; '' only reads
-- Returns the epoch, cut at 64 bytes; '' where there is none.
if ARGV[1] ~= '' and redis.call('STRLEN', KEYS[1]) == 0 then
    redis.call('SET', KEYS[1], ARGV[1])
end
return redis.call('GETRANGE', KEYS[1], 0, 63)
