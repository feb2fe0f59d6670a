-- named: the queues that may have a backlog, with their marks. KEYS[1] PREFIX:backlogs Returns
-- names and marks, flat. Members that cannot be the name of a queue, or a mark, are removed. More
-- names than any deployment has backlogs are an error, CROWDED: the caller removes the key
-- (repair.lua), and the scan of the reconciler adds the names again.
if redis.call('HLEN', KEYS[1]) > 100000 then return redis.error_reply('CROWDED the names of queues are too many') end
local found = redis.call('HGETALL', KEYS[1])
local kept = {}
for i = 1, #found, 2 do
    if #found[i] <= 128 and #found[i + 1] <= 64 and string.find(found[i], '^[%w_.-]+$') then
        kept[#kept + 1] = found[i]
        kept[#kept + 1] = found[i + 1]
    else
        redis.call('HDEL', KEYS[1], found[i])
    end
end
return kept
