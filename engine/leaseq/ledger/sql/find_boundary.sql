-- Where does a stretch of the primary key end that begins at `cursor`, holds at most `limit` tasks, and at most `room` PENDING tasks of
-- one lane? One row always: the id of the task right behind it; null: the ledger ends before.
-- Ordered by `s.id`: a bare `id` would be the text that is selected, which has no index, and is sorted by a language's rules.
with stretch as materialized (
    select id, queue, state, priority, crash_count + loss_count as crashes
    from leaseq.tasks
    where id >= %(cursor)s::uuid
    order by id
    limit %(limit)s + 1
)
select coalesce(
    (
        select s.id::text from stretch as s
        where s.state = 'PENDING' and s.queue = %(queue)s and s.priority = %(priority)s and s.crashes < %(suspect)s
        order by s.id
        offset %(room)s
        limit 1
    ),
    (select s.id::text from stretch as s order by s.id offset %(limit)s limit 1)
) as id
