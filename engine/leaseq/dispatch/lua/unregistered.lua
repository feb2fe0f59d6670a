-- unregistered: which of some workers have no lease in which of many queues. Changes nothing.
-- KEYS[1] to KEYS[n] PREFIX:{Q}:leases, of any number of queues. Read-only: on a cluster the caller
-- divides them by slots. ARGV[1] to ARGV[m] worker ids Returns flat pairs of numbers: the number of
-- a key and of a worker.
local found = {}
for i = 1, #KEYS do
    for j = 1, #ARGV do
        if not redis.call('ZSCORE', KEYS[i], ARGV[j]) then
            found[#found + 1] = i
            found[#found + 1] = j
        end
    end
end
return found
