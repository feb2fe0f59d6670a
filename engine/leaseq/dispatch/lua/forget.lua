-- forget: remove the keys of a queue in which nothing waits and that no worker serves.
-- KEYS[1] to KEYS[4] PREFIX:{Q}:ready, and ready:high, ready:low, ready:suspect   KEYS[5] PREFIX:{Q}:backlog
-- KEYS[6] PREFIX:{Q}:leases   KEYS[7] PREFIX:{Q}:paused
-- KEYS[8] PREFIX:{Q}:beats   KEYS[9] PREFIX:{Q}:epoch   KEYS[10] PREFIX:{Q}:parked
-- Returns 1, or 0 if one of the first seven exists: then nothing is removed. So no delivery, lease or flag is lost in any race:
-- a push or a worker that comes a moment later creates the keys that it needs.
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]) > 0 then
    return 0
end
redis.call('DEL', KEYS[8], KEYS[9], KEYS[10])
return 1
