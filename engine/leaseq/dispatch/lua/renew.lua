-- renew: move lease deadlines forward, and count the beat. A lease that has lapsed is not extended.
-- KEYS[1] PREFIX:{Q}:leases   KEYS[2] PREFIX:{Q}:beats
-- ARGV[1] lease in milliseconds   ARGV[2..] worker ids
-- ZREM comes first: a full server lets a script run whose first write frees memory (docs/pitfalls.md#p12), so live workers keep
-- their leases. A beat that is not a number begins again at 1.
-- Returns one word for each worker: 'held', 'lapsed', or 'missing' (closed, or Redis lost it).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {}
redis.call('HLEN', KEYS[2])
for i = 2, #ARGV do
    local deadline = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if not deadline then
        answers[#answers + 1] = 'missing'
    elseif tonumber(deadline) < now then
        answers[#answers + 1] = 'lapsed'
    else
        redis.call('ZREM', KEYS[1], ARGV[i])
        redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), ARGV[i])
        if type(redis.pcall('HINCRBY', KEYS[2], ARGV[i], 1)) ~= 'number' then
            redis.call('HSET', KEYS[2], ARGV[i], 1)
        end
        answers[#answers + 1] = 'held'
    end
end
return answers
