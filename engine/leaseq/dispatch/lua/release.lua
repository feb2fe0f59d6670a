-- release: take deliveries out of a processing list, each to where it belongs next. Safe to run again: what is no longer
-- in the list is left alone. LREM comes first (OOM, faults.md P12), and before it a look at every list: a key of another
-- type stops the script while nothing has moved.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:parked
-- KEYS[3] normal lane (the doorbell)   KEYS[4] high   KEYS[5] low   KEYS[6] suspect
-- ARGV[1] the task ids that are done with, one after the other, 36 characters each: most of them are, and an argument each would
--         cost the client more than all the rest
-- ARGV[2..] pairs: delivery, place: '' = done with it, 'parked', or a lane ('normal', 'high', 'low', 'suspect': to its head)
-- Returns the number of deliveries that were in the list.
local lanes = {normal = KEYS[3], high = KEYS[4], low = KEYS[5], suspect = KEYS[6]}
for _, list in ipairs(KEYS) do redis.call('LLEN', list) end
local found = 0
for i = 1, #ARGV[1], 36 do
    found = found + redis.call('LREM', KEYS[1], 1, string.sub(ARGV[1], i, i + 35))
end
for i = 2, #ARGV, 2 do
    local delivery, place = ARGV[i], ARGV[i + 1]
    if redis.call('LREM', KEYS[1], 1, delivery) == 1 then
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
end
return found
