-- scan: a slice of the key space. Changes nothing.
-- There is no KEYS[1], because the names are the result. On a cluster each node would be asked for its own.
-- ARGV[1] where the slice begins   ARGV[2] a glob   ARGV[3] about how many keys it has
-- Returns {next, names}: where the next slice begins ('0': at the end), and the names that match. A name longer than any name of
-- leaseq is omitted.
local reply = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local names = {}
for _, name in ipairs(reply[2]) do
    if #name <= 512 then names[#names + 1] = name end
end
return {reply[1], names}
