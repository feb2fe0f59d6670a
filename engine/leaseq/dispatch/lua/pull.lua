-- pull: move up to n deliveries into a worker's own processing list, in the order of the lanes.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:leases   KEYS[3] PREFIX:{Q}:paused
-- KEYS[4] PREFIX:{Q}:ready, the doorbell   KEYS[5] PREFIX:{Q}:parked   KEYS[6..] the lanes, the most urgent first
-- ARGV[1] worker id   ARGV[2] n
-- ARGV[3] which non-empty lane comes first this time, counted from the least urgent: 0 none (the usual order), 1 the last, 2 the one
--         before it; so that low and normal still move under any load of high
-- Returns {code, ids, parked}: 'ok', 'paused' or 'closed' (no lease is registered: pull nothing more under this worker), and
-- how many values were parked because their length is not that of a delivery. Such a value is cut at 64 KiB and not sent.
-- After 5,000 values the rest is left for the next pull: a long script would starve the heartbeats (docs/pitfalls.md#p11).
-- If deliveries remain in a lane that idle workers do not block on, a token on the doorbell wakes the next idle worker.
-- LPOP comes before RPUSH: a full server lets a script run whose first write frees memory (docs/pitfalls.md#p12).
-- The type of every list is checked before the first write: a key of another type stops the script before anything has moved.
if redis.call('EXISTS', KEYS[3]) == 1 then
    return {'paused', {}, 0}
end
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
    return {'closed', {}, 0}
end
local wanted = tonumber(ARGV[2])
redis.call('LLEN', KEYS[1])
local order, length = {}, {[KEYS[4]] = redis.call('LLEN', KEYS[4])}
for i = 6, #KEYS do
    local lane = KEYS[i]
    length[lane] = length[lane] or redis.call('LLEN', lane)
    if length[lane] > 0 then order[#order + 1] = lane end
end
local turn = tonumber(ARGV[3])
if turn > 0 and #order > turn then
    table.insert(order, 1, table.remove(order, #order - turn + 1))
end
local taken, odd, looked = {}, {}, 0
for _, lane in ipairs(order) do
    while #taken < wanted and looked < 5000 and length[lane] > 0 do
        local popped = redis.call('LPOP', lane, wanted - #taken)
        looked, length[lane] = looked + #popped, length[lane] - #popped
        for _, id in ipairs(popped) do
            if #id == 36 then
                taken[#taken + 1] = id
            elseif id ~= '' then
                odd[#odd + 1] = string.sub(id, 1, 65536)
            end
        end
    end
end
if #taken > 0 then redis.call('RPUSH', KEYS[1], unpack(taken)) end
if #odd > 0 then
    redis.call('LPUSH', KEYS[5], unpack(odd, math.max(#odd - 999, 1), #odd))
    redis.call('LTRIM', KEYS[5], 0, 999)
end
if (#taken > 0 or #odd > 0) and length[KEYS[4]] == 0 then
    for _, lane in ipairs(order) do
        if length[lane] > 0 and not string.find(lane, ':suspect', -8, true) then
            redis.call('RPUSH', KEYS[4], '')
            break
        end
    end
end
return {'ok', taken, #odd}
