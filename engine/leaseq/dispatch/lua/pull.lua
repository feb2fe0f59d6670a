-- pull: move up to n deliveries into a worker's own processing list, in the order of the lanes.
-- KEYS[1] PREFIX:{Q}:processing:<worker>   KEYS[2] PREFIX:{Q}:leases   KEYS[3] PREFIX:{Q}:paused
-- KEYS[4] PREFIX:{Q}:ready, the doorbell   KEYS[5..] the lanes, the most urgent first
-- ARGV[1] worker id   ARGV[2] n
-- ARGV[3] which lane that holds anything comes first this time, counted from the least urgent: 0 none (the usual order), 1 the
--         last, 2 the one before it; so that low and normal still move under any load of high
-- Returns {code, ids}: 'ok', 'paused' or 'closed' (no lease is registered: pull nothing more under this incarnation).
-- What is left in a lane that rings no bell of its own leaves a token on the doorbell: the next idle worker need not wait.
-- LPOP comes before RPUSH: a script whose first write frees memory may go on when Redis is full (faults.md P12).
-- Every list is looked at before the first write: a key of another type stops the script while nothing has moved.
if redis.call('EXISTS', KEYS[3]) == 1 then
    return {'paused', {}}
end
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
    return {'closed', {}}
end
local wanted = tonumber(ARGV[2])
redis.call('LLEN', KEYS[1])
local order = {}
redis.call('LLEN', KEYS[4])
for i = 5, #KEYS do
    if redis.call('LLEN', KEYS[i]) > 0 then order[#order + 1] = KEYS[i] end
end
local turn = tonumber(ARGV[3])
if turn > 0 and #order > turn then
    table.insert(order, 1, table.remove(order, #order - turn + 1))
end
local taken = {}
for _, lane in ipairs(order) do
    while #taken < wanted do
        local popped = redis.call('LPOP', lane, wanted - #taken)
        if not popped then break end
        for _, id in ipairs(popped) do
            if id ~= '' then taken[#taken + 1] = id end
        end
    end
end
if #taken > 0 then
    redis.call('RPUSH', KEYS[1], unpack(taken))
    for _, lane in ipairs(order) do
        local silent = lane ~= KEYS[4] and not string.find(lane, ':suspect', -8, true)
        if silent and redis.call('LLEN', lane) > 0 and redis.call('LLEN', KEYS[4]) == 0 then
            redis.call('RPUSH', KEYS[4], '')
        end
    end
end
return {'ok', taken}
