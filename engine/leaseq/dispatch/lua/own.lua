-- own: say whose dispatch this is and which timeline of its Postgres is the newest. The identity is a set-if-absent, the timeline a
-- set-if-greater; a timeline of another system replaces the old one, because only timelines of one system have an order.
-- KEYS[1] PREFIX:ledger, a HASH
-- ARGV[1] the identity of the ledger that asks
-- ARGV[2] the system identifier of its Postgres, empty where that is not known
-- ARGV[3] the highest timeline that the process has seen there, 0 where that is not known
-- Returns the identity of the ledger that this prefix belongs to from now on, and its system identifier and timeline (an empty
-- string and '0' where they are not known). Run only where HGETALL has not found all of this: two processes may ask at the same moment.
local owner = redis.call('HGET', KEYS[1], 'ledger')
local system = redis.call('HGET', KEYS[1], 'system') or ''
local timeline = redis.call('HGET', KEYS[1], 'timeline') or '0'
if not owner then
    owner = ARGV[1]
    redis.call('HSET', KEYS[1], 'ledger', owner)
end
if owner == ARGV[1] and ARGV[2] ~= '' and (system ~= ARGV[2] or (tonumber(timeline) or 0) < tonumber(ARGV[3])) then
    system, timeline = ARGV[2], ARGV[3]
    redis.call('HSET', KEYS[1], 'system', system, 'timeline', timeline)
end
return {owner, system, timeline}
