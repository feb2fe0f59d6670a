-- refill: read the PENDING tasks of all lanes in one range of the primary key, which begins at
-- `cursor` and holds at most `limit` tasks. Where the backlogs of many lanes share a part of the
-- ledger, it is read once for all of them. Changes nothing. One row at least: the id of the task
-- right behind the range (null: the ledger ends before), and a lane with its tasks, in order;
-- nulls where no lane has any. Suspects are left out, as in refill_tasks.sql. Lanes that were not
-- asked for come too, because comparing each task with each wanted lane would cost more.
with scanned as materialized (
    select id, queue, state, priority, crash_count + loss_count as crashes
    from leaseq.tasks
    where id >= %(cursor)s::uuid
    order by id
    limit %(limit)s
), waiting as (
    select s.queue, s.priority, array_agg(s.id::text order by s.id) as ids
    from scanned as s
    where s.state = 'PENDING' and s.crashes < %(suspect)s
    group by s.queue, s.priority
)
select behind.id::text, waiting.queue, waiting.priority, waiting.ids
from (
    select (
        select t.id from leaseq.tasks as t
        where t.id > (select s.id from scanned as s order by s.id desc limit 1)
        order by t.id
        limit 1
    ) as id
) as behind
left join waiting on true
