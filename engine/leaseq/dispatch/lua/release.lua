-- release: move deliveries out of a processing list, each to its destination, in the given order. Safe to run again: a delivery that
-- is no longer in the list is ignored. LREM comes first (full server, docs/pitfalls.md#p12). Before it the type of every list is
-- checked: a key of another type stops the script before anything has moved.
-- The order matters if an id comes twice and the list holds it once: the first destination wins. If all finished ids went first, an
-- id that goes back to its lane and then comes again as finished would lose its delivery, and its task, PENDING, would wait for
-- the reconciler.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:parked
-- KEYS[3] normal lane (the doorbell)   KEYS[4] high   KEYS[5] low   KEYS[6] suspect
-- ARGV[1] finished task ids, concatenated, 36 characters each: most ids are finished, and an argument for each would cost the
--         client more than the rest of the call
-- ARGV[2..] triples: a delivery; its destination: '' = finished, 'parked', or a lane ('normal', 'high', 'low', 'suspect': to its
--         head); and, as in ARGV[1], the finished ids that follow it
-- A list that is longer than any worker has slots is searched from its newest end, where held.lua reads its values.
-- Returns the number of deliveries that were in the list.
local lanes = {normal = KEYS[3], high = KEYS[4], low = KEYS[5], suspect = KEYS[6]}
local from = redis.call('LLEN', KEYS[1]) > 1000 and -1 or 1
for i = 2, #KEYS do redis.call('LLEN', KEYS[i]) end
local found = 0

local function drop(ids)
    for i = 1, #ids, 36 do
        found = found + redis.call('LREM', KEYS[1], from, string.sub(ids, i, i + 35))
    end
end

drop(ARGV[1])
for i = 2, #ARGV, 3 do
    local delivery, place = ARGV[i], ARGV[i + 1]
    if redis.call('LREM', KEYS[1], from, delivery) == 1 then
        found = found + 1
        if place == 'parked' then
            redis.call('LPUSH', KEYS[2], delivery)
            redis.call('LTRIM', KEYS[2], 0, 999)
        elseif lanes[place] then
            redis.call('LPUSH', lanes[place], delivery)
            if (place == 'high' or place == 'low') and redis.call('LLEN', KEYS[3]) == 0 then
                redis.call('RPUSH', KEYS[3], '')
            end
        end
    end
    drop(ARGV[i + 2])
end
return found
