-- lengths: the number of deliveries in each of many lanes. Changes nothing. KEYS[1] to KEYS[n]
-- PREFIX:{Q}:ready[:lane], of any number of queues. Read-only: on a cluster the caller divides them
-- by slots. Returns n numbers in the order of KEYS, -1 for a key of another type.
local found = {}
for i = 1, #KEYS do
    local reply = redis.pcall('LLEN', KEYS[i])
    found[i] = type(reply) == 'number' and reply or -1
end
return found
