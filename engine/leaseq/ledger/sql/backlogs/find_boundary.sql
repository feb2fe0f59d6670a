-- Where do stretches of the primary key end? Each begins at its cursor, holds at most `size` tasks,
-- and at most `room` PENDING tasks of its lane. One row for each stretch, in the order asked: the
-- id of the task right behind it; null: the ledger ends before. Many stretches in one statement,
-- because hundreds of lanes may want one and each statement costs a round trip. Ordered by `s.id`:
-- a bare `id` would be the text that is selected, which has no index, and is sorted by a language's
-- rules.
select found.id
from unnest(
    %(queues)s::text[], %(priorities)s::smallint[], %(cursors)s::uuid[], %(sizes)s::integer[], %(rooms)s::integer[]
) with ordinality as asked (queue, priority, cursor, size, room, number)
cross join lateral (
    with stretch as materialized (
        select t.id, t.queue, t.state, t.priority, t.crash_count + t.loss_count as crashes
        from leaseq.tasks as t
        where t.id >= asked.cursor
        order by t.id
        limit asked.size + 1
    )
    select coalesce(
        (
            select s.id::text from stretch as s
            where s.state = 'PENDING' and s.queue = asked.queue and s.priority = asked.priority and s.crashes < %(suspect)s
            order by s.id
            offset asked.room
            limit 1
        ),
        (select s.id::text from stretch as s order by s.id offset asked.size limit 1)
    ) as id
) as found
order by asked.number
