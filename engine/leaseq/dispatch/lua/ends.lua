-- ends: the number of deliveries in each of many lanes, and the last one of each. Changes nothing.
-- KEYS[1] to KEYS[n] PREFIX:{Q}:ready[:lane], of any number of queues. Read-only: on a cluster the
-- caller divides them by slots. Returns 2n values in the order of KEYS: a number and a text, which
-- is empty if there is none; -1 and an empty text for a key of another type. A text is cut at 64
-- bytes, because it may not be an id.
local found = {}
for i = 1, #KEYS do
    local length, last = redis.pcall('LLEN', KEYS[i]), ''
    if type(length) ~= 'number' then
        length = -1
    elseif length > 0 then
        last = string.sub(redis.call('LRANGE', KEYS[i], -1, -1)[1], 1, 64)
    end
    found[#found + 1] = length
    found[#found + 1] = last
end
return found
