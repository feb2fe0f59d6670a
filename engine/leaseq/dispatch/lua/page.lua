-- page: a page of a list of deliveries. Changes nothing. KEYS[1] PREFIX:{Q}:ready[:lane] or
-- PREFIX:{Q}:processing:<worker> ARGV[1] and ARGV[2] the first and the last position, as for LRANGE
-- Returns the values in order. A value that is no delivery, by its length, stays on the server: ''
-- is returned in its place.
local page = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
for i, value in ipairs(page) do
    if #value ~= 36 then page[i] = '' end
end
return page
