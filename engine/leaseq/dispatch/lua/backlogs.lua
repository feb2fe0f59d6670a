-- backlogs: which lanes of many queues have a backlog, and where it begins.
-- KEYS[1] to KEYS[n] PREFIX:{Q}:backlog, of any number of queues: on a cluster its caller would divide them by slots.
-- ARGV[1] the lowest possible id   ARGV[2..] the lanes
-- Returns n lists of values in the order of the lanes, with a null for a lane without a backlog; -1 in place of the list for a key
-- of another type. A value longer than any cursor is replaced by the lowest id, and fields that are no lanes are removed: the
-- caller examines more tasks than necessary, and misses none.
local found = {}
for i = 1, #KEYS do
    local values = redis.pcall('HMGET', KEYS[i], unpack(ARGV, 2))
    if values.err then
        found[i] = -1
    else
        local kept = {}
        for j = 1, #values do
            if values[j] then
                if #values[j] > 128 then
                    values[j] = ARGV[1]
                    redis.call('HSET', KEYS[i], ARGV[j + 1], values[j])
                end
                kept[#kept + 1] = ARGV[j + 1]
                kept[#kept + 1] = values[j]
            end
        end
        if redis.call('HLEN', KEYS[i]) > #kept / 2 then
            redis.call('UNLINK', KEYS[i])
            if #kept > 0 then redis.call('HSET', KEYS[i], unpack(kept)) end
        end
        found[i] = values
    end
end
return found
