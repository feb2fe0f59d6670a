-- release: take deliveries out of a processing list, each to where it belongs next, in the given order. Safe to run again: what is
-- no longer in the list is left alone. LREM comes first (OOM, docs/pitfalls.md#p12), and before it a look at every list: a key of another
-- type stops the script while nothing has moved.
-- The order counts where an id comes twice and the list holds it once: the first place wins. If all that are done with went first, an
-- id that goes back to its lane and comes a second time as done with would lose its delivery, and its task, PENDING, would wait for
-- the reconciler.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:parked
-- KEYS[3] normal lane (the doorbell)   KEYS[4] high   KEYS[5] low   KEYS[6] suspect
-- ARGV[1] task ids that are done with, one after the other, 36 characters each: most of them are, and an argument each would cost the
--         client more than all the rest
-- ARGV[2..] triples: a delivery; its place: '' = done with it, 'parked', or a lane ('normal', 'high', 'low', 'suspect': to its head);
--         and, as in ARGV[1], the ids that are done with and follow it
-- A list that is longer than any worker has slots is searched from its newest end, where its values are taken from (held.lua).
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
