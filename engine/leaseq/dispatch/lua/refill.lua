-- refill: bring the next deliveries of a backlog into their lane, and move the backlog's beginning behind them, by compare-and-set.
-- KEYS[1] PREFIX:{Q}:ready, the doorbell   KEYS[2] PREFIX:{Q}:ready[:lane]   KEYS[3] PREFIX:{Q}:backlog
-- ARGV[1] the lane, its field in the backlog
-- ARGV[2] the field's value when the ledger was read   ARGV[3] its new value; '' removes it: the backlog ends
-- ARGV[4] task ids in order, concatenated, 36 characters each (see release.lua); '': a range is only announced, or is empty
-- Returns 1, or 0 if the field has changed (another refill, a push, a loss of data): then nothing is done.
redis.call('LLEN', KEYS[2])
local quiet = KEYS[1] ~= KEYS[2] and redis.call('LLEN', KEYS[1]) == 0
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then
    return 0
end
local ids = {}
for i = 1, #ARGV[4], 36 do ids[#ids + 1] = string.sub(ARGV[4], i, i + 35) end
if #ids > 0 then
    redis.call('RPUSH', KEYS[2], unpack(ids))
    if quiet then
        redis.call('RPUSH', KEYS[1], '')
    end
end
if ARGV[3] == '' then
    redis.call('HDEL', KEYS[3], ARGV[1])
else
    redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
end
return 1
