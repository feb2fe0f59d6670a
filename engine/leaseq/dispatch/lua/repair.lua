-- repair: remove keys that have the wrong type, or hold more than leaseq ever stores there. They
-- hold hints only: leases are reopened, and deliveries restored, from the ledger and the workers.
-- KEYS[1] to KEYS[n] any keys, of any number of queues: on a cluster its caller would divide them
-- by slots. ARGV[1] to ARGV[n] the type that each should have; '' any Returns pairs: the number of
-- a removed key, and its type ('string', 'list', 'set', 'zset', 'hash', 'stream'). A set of leases
-- holds a few hundred workers, a hash of beats the same, and one of names as many as there are
-- queues with backlogs.
local count = {zset = 'ZCARD', hash = 'HLEN'}
local most = {zset = 10000, hash = 100000}
local found = {}
for i = 1, #KEYS do
    local kind = redis.call('TYPE', KEYS[i])['ok']
    local odd = ARGV[i] ~= '' and kind ~= 'none' and kind ~= ARGV[i]
    if not odd and kind == ARGV[i] and count[kind] then
        odd = redis.call(count[kind], KEYS[i]) > most[kind]
    end
    if odd then
        redis.call('UNLINK', KEYS[i])
        found[#found + 1] = i
        found[#found + 1] = kind
    end
end
return found
