-- backlogs: which lanes of many queues have a backlog, and where it begins. Changes nothing.
-- KEYS[1] to KEYS[n] PREFIX:{Q}:backlog, of any number of queues. It only reads: on a cluster its caller would divide them by slots.
-- Returns n lists of fields and values in the order of KEYS, -1 in place of the list for a key of another type.
local found = {}
for i = 1, #KEYS do
    local reply = redis.pcall('HGETALL', KEYS[i])
    found[i] = reply.err and -1 or reply
end
return found
