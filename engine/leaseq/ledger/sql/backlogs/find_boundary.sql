-- Find the ends of ranges of the primary key. A range begins at its cursor and holds at most
-- `size` tasks, of which at most `room` are PENDING tasks of its lane. One row for each range, in
-- the order asked: the id of the task right behind it, or null where the ledger ends before. Many
-- ranges share one statement, because hundreds of lanes may want one and each statement costs a
-- round trip. Where a lane has room for the whole range, the states of its tasks do not matter, and
-- the index alone is read. The order is by `s.id`: a bare `id` would be the selected text, which
-- has no index and is sorted by the rules of a language.
select coalesce(full_lane.id, behind.id)::text as id
from unnest(
    %(queues)s::text[], %(priorities)s::smallint[], %(cursors)s::uuid[], %(sizes)s::integer[], %(rooms)s::integer[]
) with ordinality as asked (queue, priority, cursor, size, room, number)
left join lateral (
    select t.id from leaseq.tasks as t
    where t.id >= asked.cursor
    order by t.id
    offset asked.size
    limit 1
) as behind on true
left join lateral (
    select s.id
    from (
        select t.id, t.queue, t.state, t.priority, t.crash_count + t.loss_count as crashes
        from leaseq.tasks as t
        where asked.room < asked.size and t.id >= asked.cursor
        order by t.id
        limit asked.size
    ) as s
    where s.state = 'PENDING' and s.queue = asked.queue and s.priority = asked.priority and s.crashes < %(suspect)s
    order by s.id
    offset asked.room
    limit 1
) as full_lane on true
order by asked.number
