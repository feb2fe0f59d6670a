-- Who is registered, and how far past is each deadline, by the clock of this server?
-- KEYS[1] PREFIX:{Q}:leases   KEYS[2] PREFIX:{Q}:beats
-- Returns triples, flat: worker id, milliseconds left (negative: lapsed), beat counter.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entries = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local answer = {}
for i = 1, #entries, 2 do
    answer[#answer + 1] = entries[i]
    answer[#answer + 1] = string.format('%.0f', tonumber(entries[i + 1]) - now)
    answer[#answer + 1] = redis.call('HGET', KEYS[2], entries[i]) or '0'
end
return answer
