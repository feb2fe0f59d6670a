-- push: place deliveries at the tail of a lane, as far as it has room. The others wait in the ledger (backlog.py).
-- KEYS[1] PREFIX:{Q}:ready           the normal lane, the doorbell
-- KEYS[2] PREFIX:{Q}:ready[:lane]    the lane to push to (may be KEYS[1])
-- KEYS[3] PREFIX:{Q}:backlog
-- ARGV[1] the lane, its field in the backlog
-- ARGV[2] the length up to which a lane without a backlog accepts one more delivery; 0: no limit
-- ARGV[3] the same for a lane with a backlog, and ids that lie before it
-- ARGV[4] task ids in order, concatenated, 36 characters each (see release.lua)
-- Returns {taken, begun}: how many were accepted, always the first ones, and 1 if the lane now has a backlog.
-- An idle worker blocks on the doorbell only, so a push to another lane leaves an empty token there if it is empty (the suspect
-- lane has its own worker, and no token). A refused delivery moves nothing and leaves no token.
-- RPUSH comes before HSET: on a full server the first write of either stops the script (docs/pitfalls.md#p12).
local ids = {}
for i = 1, #ARGV[4], 36 do ids[#ids + 1] = string.sub(ARGV[4], i, i + 35) end

-- Compared by bytes, as Postgres compares ids: Lua's own < uses the locale of the server.
local function below(a, b)
    for i = 1, #a do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then return y ~= nil and x < y end
    end
    return #a < #b
end

local length = redis.call('LLEN', KEYS[2])
local quiet = KEYS[1] ~= KEYS[2] and redis.call('LLEN', KEYS[1]) == 0
local backlog = redis.call('HGET', KEYS[3], ARGV[1])
local fits, limit, cursor = #ids, tonumber(ARGV[2]), nil
if backlog and limit > 0 then
    -- 'cursor', or 'cursor until token': ids before `until` are accepted, if there is one.
    local bound = #backlog > 37 and string.sub(backlog, 38, 73) or backlog
    limit, cursor = tonumber(ARGV[3]), string.sub(backlog, 1, 36)
    local low, high = 1, #ids + 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        if below(ids[middle], bound) then low = middle + 1 else high = middle end
    end
    fits = low - 1
end

local begins = nil
local room = math.max(limit - length, 0)
if limit > 0 and room < fits then
    fits = room
    begins = ids[fits + 1]
    if cursor and below(cursor, begins) then begins = cursor end
end
if fits > 0 then
    redis.call('RPUSH', KEYS[2], unpack(ids, 1, fits))
    if quiet and not string.find(KEYS[2], ':suspect', -8, true) then
        redis.call('RPUSH', KEYS[1], '')
    end
end
if begins then redis.call('HSET', KEYS[3], ARGV[1], begins) end
return {fits, begins and not backlog and 1 or 0}
