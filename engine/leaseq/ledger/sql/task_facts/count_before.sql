-- Count the tasks of a backlog before one task: PENDING in the same queue with the same priority,
-- from one id on. Looks at `rows` tasks along the primary key at most; then `is_all` is false. One
-- row always.
select count(*) filter (where state = 'PENDING' and queue = %(queue)s and priority = %(priority)s) as count, count(*) < %(rows)s as is_all
from (
    select state, queue, priority
    from leaseq.tasks
    where id >= %(first_id)s and id < %(task_id)s
    order by id
    limit %(rows)s
) as t
