-- refill: read the PENDING tasks of lanes in ranges of the primary key, each [cursor, until).
-- These are the next parts of their backlogs. Changes nothing. One row for each range, in the
-- order asked: the last id that was looked at, if the range may go on behind it (otherwise null),
-- the number of tasks that were looked at, and the ids of the wanted ones in one text with commas
-- (null: none). They are in order, because the aggregate has no order or groups of its own and
-- takes the rows as the subquery sorts them. Suspects have a separate lane without a backlog
-- (lifecycle.lane_of).
select
    case when found.looked_at = asked.size then (
        select t.id::text from leaseq.tasks as t
        where t.id >= asked.cursor and t.id < asked.until
        order by t.id
        offset asked.size - 1
        limit 1
    ) end as last_id,
    found.looked_at, found.ids
from unnest(
    %(queues)s::text[], %(priorities)s::smallint[], %(cursors)s::uuid[], %(untils)s::uuid[], %(sizes)s::integer[]
) with ordinality as asked (queue, priority, cursor, until, size, number)
cross join lateral (
    select count(*) as looked_at, string_agg(s.id::text, ',') filter (
        where s.state = 'PENDING' and s.queue = asked.queue and s.priority = asked.priority and s.crashes < %(suspect)s
    ) as ids
    from (
        select t.id, t.queue, t.state, t.priority, t.crash_count + t.loss_count as crashes
        from leaseq.tasks as t
        where t.id >= asked.cursor and t.id < asked.until
        order by t.id
        limit asked.size
    ) as s
) as found
order by asked.number
