-- own: read or set the ledger of this dispatch and the newest timeline of its Postgres. The
-- identity is a set-if-absent, the timeline a set-if-greater; a timeline of another system replaces
-- the old one, because only timelines of one system have an order. KEYS[1] PREFIX:ledger, a HASH
-- ARGV[1] the identity of the ledger that asks ARGV[2] the system identifier of its Postgres, empty
-- if unknown ARGV[3] the highest timeline that the process has seen there, 0 if unknown ARGV[4] '1'
-- set absent values; '' only read Returns the identity of the ledger that owns this prefix, its
-- system identifier and its timeline (an empty string and '0' if they are unknown; the identity is
-- empty if there is none and this was only a read). A value that no process of leaseq writes (an
-- identity is 36 bytes, the others are numbers) counts as absent. So does a timeline that is a
-- thousand promotions ahead of the process's own: it would make every process leave its Postgres.
local found = redis.call('HMGET', KEYS[1], 'ledger', 'system', 'timeline')
local owner, system, timeline = found[1] or '', found[2] or '', found[3] or ''
if not string.find(owner, '^[%x-]+$') or #owner ~= 36 then owner = '' end
if not string.find(system, '^%d+$') or #system > 20 then system = '' end
if not string.find(timeline, '^%d+$') or #timeline > 10 then timeline = '0' end
if system == ARGV[2] and tonumber(timeline) > tonumber(ARGV[3]) + 1000 then timeline = '0' end
if ARGV[4] == '' then return {owner, system, timeline} end
if owner == '' then
    owner = ARGV[1]
    redis.call('HSET', KEYS[1], 'ledger', owner)
end
if owner == ARGV[1] and ARGV[2] ~= '' and (system ~= ARGV[2] or tonumber(timeline) < tonumber(ARGV[3])) then
    system, timeline = ARGV[2], ARGV[3]
    redis.call('HSET', KEYS[1], 'system', system, 'timeline', timeline)
end
return {owner, system, timeline}
