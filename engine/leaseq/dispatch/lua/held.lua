-- held: the deliveries at the newest end of a processing list. Values that are no deliveries, by their length, are parked
-- immediately and not sent to a worker.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:parked
-- ARGV[1] how many values are examined
-- Returns {ids, parked}: the ids, oldest first, and how many values were parked. The tokens of the doorbell are dropped.
-- LTRIM comes first: a full server lets a script run whose first write frees memory (docs/pitfalls.md#p12).
-- A parked value is cut at 64 KiB.
local page = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[1]), -1)
redis.call('LLEN', KEYS[2])
local ids, odd = {}, {}
for _, value in ipairs(page) do
    if #value == 36 then
        ids[#ids + 1] = value
    elseif value ~= '' then
        odd[#odd + 1] = string.sub(value, 1, 65536)
    end
end
if #ids < #page then
    redis.call('LTRIM', KEYS[1], 0, -#page - 1)
    for i = 1, #ids, 1000 do
        redis.call('RPUSH', KEYS[1], unpack(ids, i, math.min(i + 999, #ids)))
    end
    if #odd > 0 then
        redis.call('LPUSH', KEYS[2], unpack(odd, math.max(#odd - 999, 1), #odd))
        redis.call('LTRIM', KEYS[2], 0, 999)
    end
end
return {ids, #odd}
