-- heads: the delivery that is first in each of many lanes. Changes nothing.
-- KEYS[1] to KEYS[n] PREFIX:{Q}:ready[:lane], of any number of queues. Read-only: on a cluster the
-- caller divides them by slots. Returns n texts in the order of KEYS. A text is empty if the lane is
-- empty or a key of another type, and is cut at 64 bytes, because it may not be an id.
local found = {}
for i = 1, #KEYS do
    local head = redis.pcall('LINDEX', KEYS[i], 0)
    found[i] = type(head) == 'string' and string.sub(head, 1, 64) or ''
end
return found
