-- ends: how many deliveries are in each of many lanes, and the last one of each. Changes nothing.
-- KEYS[1] to KEYS[n] PREFIX:{Q}:ready[:lane], of any number of queues. It only reads: on a cluster its caller would divide them by slots.
-- Returns 2n values in the order of KEYS: a number and a text, which is empty where there is none; -1 and an empty text for a key of
-- another type. A text is cut after 64 bytes: it may be no id.
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
