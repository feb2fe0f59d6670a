-- restore: put deliveries that a worker holds, and that its processing list has lost, back into
-- that list. KEYS[1] PREFIX:{Q}:processing:<worker> ARGV task ids Returns how many were missing.
local present = {}
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do present[id] = true end
local missing = 0
for _, id in ipairs(ARGV) do
    if not present[id] then
        redis.call('RPUSH', KEYS[1], id)
        missing = missing + 1
    end
end
return missing
