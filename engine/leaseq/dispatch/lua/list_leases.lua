-- list_leases: the registered workers, and the time since or until each deadline, by the clock of this server.
-- KEYS[1] PREFIX:{Q}:leases   KEYS[2] PREFIX:{Q}:beats
-- Returns the number of members that were removed because they cannot be workers, then flat triples: worker id, milliseconds left
-- (negative: lapsed; a distant deadline is cut), beat counter (cut at 20 bytes, because it may not be a number).
-- More members than any deployment has workers are an error, CROWDED: the caller removes the key (repair.lua), and workers reopen
-- their leases with the next beat.
local most = 10000
if redis.call('ZCARD', KEYS[1]) > most then return redis.error_reply('CROWDED the leases of a queue are too many') end
if redis.call('HLEN', KEYS[2]) > 10 * most then return redis.error_reply('CROWDED the beats of a queue are too many') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entries = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local answer = {0}
for i = 1, #entries, 2 do
    local id = entries[i]
    if #id > 128 or not string.find(id, '^[%w_.-]+$') then
        redis.call('ZREM', KEYS[1], id)
        redis.call('HDEL', KEYS[2], id)
        answer[1] = answer[1] + 1
    else
        local left = math.max(math.min(tonumber(entries[i + 1]) - now, 1e15), -1e15)
        answer[#answer + 1] = id
        answer[#answer + 1] = string.format('%.0f', left)
        answer[#answer + 1] = string.sub(redis.call('HGET', KEYS[2], id) or '0', 1, 20)
    end
end
return answer
