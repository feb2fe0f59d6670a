-- unregistered: in which of many queues is which of some workers without a lease? Changes nothing.
-- KEYS[1] to KEYS[n] PREFIX:{Q}:leases, of any number of queues. It only reads: on a cluster its caller would divide them by slots.
-- ARGV[1] to ARGV[m] worker ids
-- Returns pairs of numbers, one after the other: that of a key and that of a worker.
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
