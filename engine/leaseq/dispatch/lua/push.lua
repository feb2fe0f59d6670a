-- push: place deliveries at the tail of a lane.
-- KEYS[1] leaseq:{Q}:ready           the normal lane, the doorbell
-- KEYS[2] leaseq:{Q}:ready[:lane]    the lane to push to (may be KEYS[1])
-- ARGV    task ids
-- Returns the length of the lane. An idle worker blocks on the doorbell only, so a push to another lane leaves an
-- empty token there when it is empty (the suspect lane has its own worker, and rings no bell).
local quiet = redis.call('LLEN', KEYS[1]) == 0
local length = redis.call('RPUSH', KEYS[2], unpack(ARGV))
if quiet and KEYS[1] ~= KEYS[2] and not string.find(KEYS[2], ':suspect', -8, true) then
    redis.call('RPUSH', KEYS[1], '')
end
return length
