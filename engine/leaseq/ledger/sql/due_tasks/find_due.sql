-- Find the queues and priorities at which a task is due by the clock of this server, and the first
-- task there. Zero rows: nothing is due. The arrays name places (a queue and a priority each, in
-- the order of the index), each with a position before which the statement does not look. Promoted
-- tasks leave entries in the index before that position, and every look would go through them again
-- for as long as some transaction still sees them. A place that is not named is found too, by jumps
-- along the index from one place to the next. The named places divide the index into gaps, and the
-- jumps stay inside them. Without names there is one gap, and the statement looks at everything.
with recursive named as (
    select n.queue, n.priority, n.after_at, n.after_id,
        lead(n.queue) over numbered as next_queue, lead(n.priority) over numbered as next_priority
    from unnest(
        %(queues)s::text[], %(priorities)s::smallint[], %(after_ats)s::timestamptz[], %(after_ids)s::uuid[]
    ) as n (queue, priority, after_at, after_id)
    window numbered as (order by n.queue, n.priority)
), gap as (
    select queue as low_queue, priority as low_priority, next_queue as high_queue, next_priority as high_priority from named
    union all
    -- Before the first one. No queue and no priority sort below these; queue '' is known to the ledger (migration 3).
    select '', (-32768)::smallint, first.queue, first.priority
    from (select 1) as one
    left join (select n.queue, n.priority from named as n order by n.queue, n.priority limit 1) as first on true
), place as (
    select gap.high_queue, gap.high_priority, gap.low_queue as queue, gap.low_priority as priority,
        null::timestamptz as run_at, null::uuid as task_id
    from gap
    union all
    select place.high_queue, place.high_priority, further.queue, further.priority, further.run_at, further.task_id
    from place
    cross join lateral (
        (
            select s.queue, s.priority, s.run_at, s.task_id from leaseq.scheduled as s
            where place.high_queue is null and (s.queue, s.priority) > (place.queue, place.priority)
            order by s.queue, s.priority, s.run_at, s.task_id
            limit 1
        )
        union all
        (
            select s.queue, s.priority, s.run_at, s.task_id from leaseq.scheduled as s
            where place.high_queue is not null and (s.queue, s.priority) > (place.queue, place.priority)
                and (s.queue, s.priority) < (place.high_queue, place.high_priority)
            order by s.queue, s.priority, s.run_at, s.task_id
            limit 1
        )
    ) as further
), first as (
    select queue, priority, run_at, task_id from place where task_id is not null
    union all
    select named.queue, named.priority, waiting.run_at, waiting.task_id
    from named
    cross join lateral (
        select s.run_at, s.task_id from leaseq.scheduled as s
        where s.queue = named.queue and s.priority = named.priority
            and (s.run_at, s.task_id) >= (named.after_at, named.after_id)
        order by s.run_at, s.task_id
        limit 1
    ) as waiting
)
select queue, priority, run_at, task_id::text from first
where run_at <= now()
order by queue, priority
