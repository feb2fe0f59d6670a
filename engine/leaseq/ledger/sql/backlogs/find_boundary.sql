-- Find the ends of ranges of the primary key. A range begins at its cursor and holds at most
-- `size` tasks, of which at most `room` are PENDING tasks of its lane. One row for each range, in
-- the order asked: the id of the task right behind it, or null where the ledger ends before. Many
-- ranges share one statement, because hundreds of lanes may want one and each statement costs a
-- round trip. The order is by `s.id`: a bare `id` would be the selected text, which has no index
-- and is sorted by the rules of a language.
select found.id
from unnest(
    %(queues)s::text[], %(priorities)s::smallint[], %(cursors)s::uuid[], %(sizes)s::integer[], %(rooms)s::integer[]
) with ordinality as asked (queue, priority, cursor, size, room, number)
cross join lateral (
    with scanned as materialized (
        select t.id, t.queue, t.state, t.priority, t.crash_count + t.loss_count as crashes
        from leaseq.tasks as t
        where t.id >= asked.cursor
        order by t.id
        limit asked.size + 1
    )
    select coalesce(
        (
            select s.id::text from scanned as s
            where s.state = 'PENDING' and s.queue = asked.queue and s.priority = asked.priority and s.crashes < %(suspect)s
            order by s.id
            offset asked.room
            limit 1
        ),
        (select s.id::text from scanned as s order by s.id offset asked.size limit 1)
    ) as id
) as found
order by asked.number
