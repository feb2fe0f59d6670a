-- own: say whose dispatch this is, and take it for a ledger if it has no owner: a set-if-absent.
-- KEYS[1] PREFIX:ledger, a HASH
-- ARGV[1] the identity of the ledger that asks
-- Returns the identity of the ledger that this prefix belongs to from now on. Run only where HGET has found none: two processes may
-- find none at the same moment.
local owner = redis.call('HGET', KEYS[1], 'ledger')
if owner then
    return owner
end
redis.call('HSET', KEYS[1], 'ledger', ARGV[1])
return ARGV[1]
