-- Set the permits of each queue that is fair: a permit for each slot of the workers that serve it, and as
-- many besides as were given within `ahead` seconds of late, at least `least`. So lanes hold work for that
-- time, workers do not wait for an admission, and the next task of another tenant is never far. A
-- supervisor announces its slots (those of its first 50 queues). Where none has, an open worker counts as
-- `usual`. Each queue is measured once in `every` seconds, by any of the reapers. Limits are locked first,
-- as in set_queues.sql; one that is locked is left to the next pass. The version of a guard increases with
-- the bound. Zero rows: no bound has changed.
with announced as materialized (
    select name, sum((s.detail ->> 'slots')::integer)::integer as slots
    from leaseq.services as s, json_array_elements_text(s.detail -> 'queues') as name
    where s.role = 'supervisor' and s.ended_at is null
        and s.last_seen >= clock_timestamp() - make_interval(secs => 3 * s.beat_seconds)
    group by name
), fair as materialized (
    select
        q.queue, q.limit_id, q.measured_at, g.given,
        coalesce(
            (select a.slots from announced as a where a.name = q.queue),
            %(usual)s::integer * (select count(*)::integer from leaseq.workers as w where w.closed_at is null and q.queue = any(w.queues))
        ) as slots,
        case
            when q.measured_at > clock_timestamp() - interval '1 minute'
            then greatest(0, g.given - q.measured) / extract(epoch from clock_timestamp() - q.measured_at)::float8
            else 0
        end as rate
    from leaseq.queue_limits as q
    join leaseq.limits as l on l.id = q.limit_id
    join leaseq.guards as g on g.limit_id = q.limit_id
    where q.fair and q.measured_at < clock_timestamp() - make_interval(secs => %(every)s)
    order by q.limit_id
    for no key update of l skip locked
), measured as (
    update leaseq.queue_limits as q
    set measured = f.given, measured_at = clock_timestamp()
    from fair as f
    where q.queue = f.queue and q.measured_at = f.measured_at
    returning
        f.limit_id, f.queue,
        least(%(most)s::integer, f.slots + greatest(%(least)s::integer, ceil(f.rate * %(ahead)s::float8)::integer)) as room
), sized as (
    update leaseq.limits as l
    set concurrency = m.room
    from measured as m
    where l.id = m.limit_id and l.concurrency <> m.room
    returning l.id, m.queue, m.room
), guarded as (
    update leaseq.guards as g
    set version = g.version + 1
    from sized as s
    where g.limit_id = s.id
)
select queue, room from sized order by queue
