-- drop: remove very many values from the newest end of a processing list in one step; release.lua would search for each of them.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:parked
-- ARGV[1] values to be parked, concatenated, 36 bytes each   ARGV[2] finished values, the same
-- ARGV[3] how many values of the list are examined
-- Returns how many were found.
-- LTRIM comes first: a full server lets a script run whose first write frees memory (docs/pitfalls.md#p12).
local wanted, parked = {}, {}
for number = 1, 2 do
    for i = 1, #ARGV[number], 36 do
        local value = string.sub(ARGV[number], i, i + 35)
        wanted[value] = (wanted[value] or 0) + 1
        if number == 1 then parked[#parked + 1] = value end
    end
end
redis.call('LLEN', KEYS[2])
local page = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[3]), -1)
local kept = {}
for i = #page, 1, -1 do
    local left = wanted[page[i]]
    if left and left > 0 then
        wanted[page[i]] = left - 1
    else
        table.insert(kept, page[i])
    end
end
if #kept == #page then return 0 end
redis.call('LTRIM', KEYS[1], 0, -#page - 1)
for i = #kept, 1, -1 do redis.call('RPUSH', KEYS[1], kept[i]) end
if #parked > 0 then
    redis.call('LPUSH', KEYS[2], unpack(parked, math.max(#parked - 999, 1), #parked))
    redis.call('LTRIM', KEYS[2], 0, 999)
end
return #page - #kept
