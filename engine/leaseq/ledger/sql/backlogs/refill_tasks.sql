-- refill: read the PENDING tasks of lanes in ranges of the primary key, each [cursor, until).
-- These are the next parts of their backlogs. Changes nothing. One row for each range, in the
-- order asked: the last id that was looked at (null: there is none), the number of tasks that were
-- looked at, and the wanted ones, in order (of `s.id`, for the reason in find_boundary.sql).
-- Suspects have a separate lane without a backlog (lifecycle.lane_of).
select found.last_id, found.looked_at, found.ids
from unnest(
    %(queues)s::text[], %(priorities)s::smallint[], %(cursors)s::uuid[], %(untils)s::uuid[], %(sizes)s::integer[]
) with ordinality as asked (queue, priority, cursor, until, size, number)
cross join lateral (
    with scanned as materialized (
        select t.id, t.queue, t.state, t.priority, t.crash_count + t.loss_count as crashes
        from leaseq.tasks as t
        where t.id >= asked.cursor and t.id < asked.until
        order by t.id
        limit asked.size
    )
    select
        (select s.id::text from scanned as s order by s.id desc limit 1) as last_id,
        (select count(*) from scanned) as looked_at,
        array(
            select s.id::text from scanned as s
            where s.state = 'PENDING' and s.queue = asked.queue and s.priority = asked.priority and s.crashes < %(suspect)s
            order by s.id
        ) as ids
) as found
order by asked.number
