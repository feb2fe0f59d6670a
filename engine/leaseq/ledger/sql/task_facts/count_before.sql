-- Count the tasks of a backlog before one task: PENDING in the same queue with the same priority,
-- from one id on. Looks at `rows` tasks along the primary key at most, and returns the last id that
-- it looked at (null: there is none). One row always. If it has looked at fewer, it has counted all
-- of them.
with looked_at as materialized (
    select id, state, queue, priority
    from leaseq.tasks
    where id >= %(first_id)s and id < %(task_id)s
    order by id
    limit %(rows)s
)
select
    count(*) filter (where state = 'PENDING' and queue = %(queue)s and priority = %(priority)s) as count,
    count(*) as looked_at,
    (select l.id::text from looked_at as l order by l.id desc limit 1) as last_id
from looked_at
