-- release: move deliveries out of a processing list, each to its destination, in the given order. Safe to run again: a delivery that
-- is no longer in the list is ignored. LTRIM or LREM comes first (full server, docs/pitfalls.md#p12). Before it the type of every
-- list that a delivery may go to is checked: a key of another type stops the script before anything has moved.
-- The order matters if an id comes twice and the list holds it once: the first destination wins. If all finished ids went first, an
-- id that goes back to its lane and then comes again as finished would lose its delivery, and its task, PENDING, would wait for
-- the reconciler.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:parked
-- KEYS[3] normal lane (the doorbell)   KEYS[4] high   KEYS[5] low   KEYS[6] suspect
-- ARGV[1] finished task ids, concatenated, 36 characters each: most ids are finished, and an argument for each would cost the
--         client more than the rest of the call
-- ARGV[2..] triples: a delivery; its destination: '' = finished, 'parked', or a lane ('normal', 'high', 'low', 'suspect': to its
--         head); and, as in ARGV[1], the finished ids that follow it
-- Finished ids of a batch were mostly pulled together, and then are the head of the list, in its order: they leave by one LTRIM.
-- A list that is longer than any worker has slots is searched from its newest end, where held.lua reads its values.
-- Returns the number of deliveries that were in the list.
local lanes = {normal = KEYS[3], high = KEYS[4], low = KEYS[5], suspect = KEYS[6]}
local from = redis.call('LLEN', KEYS[1]) > 1000 and -1 or 1
if #ARGV > 1 then
    for i = 2, #KEYS do redis.call('LLEN', KEYS[i]) end
end
local found = 0

-- Remove the first of these ids by one LTRIM, as far as the list begins with them in this order. Returns how many they are. Some
-- other values may lie between them, of handlers that still run, and keep their places. A value that comes later among the ids
-- ends the search, so the first place of an id in the list is the one that it loses, as with LREM.
local function trim(ids, count)
    local most, gone, kept, stay = math.floor(count / 4), 0, {}, 0
    for _, value in ipairs(redis.call('LRANGE', KEYS[1], 0, count + most - 1)) do
        if gone == count then break end
        if value == string.sub(ids, gone * 36 + 1, gone * 36 + 36) then
            gone, stay = gone + 1, #kept
        elseif #kept == most or string.find(ids, value, 1, true) then
            break
        else
            kept[#kept + 1] = value
        end
    end
    if gone > 0 then redis.call('LTRIM', KEYS[1], gone + stay, -1) end
    for i = stay, 1, -1 do redis.call('LPUSH', KEYS[1], kept[i]) end
    return gone
end

local function drop(ids)
    local count = #ids / 36
    local gone = count > 3 and from == 1 and trim(ids, count) or 0
    for i = gone * 36 + 1, #ids, 36 do
        found = found + redis.call('LREM', KEYS[1], from, string.sub(ids, i, i + 35))
    end
    found = found + gone
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
