-- Find the tasks that another transaction has locked, in `tasks` or in `scheduled`. It is asked
-- after a statement over several tasks has waited too long for a lock, so that the other tasks need
-- not wait. Waits for no row. No transition. The free rows are locked until the end of this
-- statement, which distinguishes them. Zero rows: none of them is locked, the lock was released, or
-- the lock is on a table or on another row.
with free as materialized (
    select id from leaseq.tasks
    where id = any(%(ids)s::uuid[])
    for no key update skip locked
), free_waiting as materialized (
    select task_id from leaseq.scheduled
    where task_id = any(%(ids)s::uuid[])
    for update skip locked
)
select id::text from (
    select id from leaseq.tasks where id = any(%(ids)s::uuid[])
    except
    select id from free
) as locked
union
select task_id::text from (
    select task_id from leaseq.scheduled where task_id = any(%(ids)s::uuid[])
    except
    select task_id from free_waiting
) as locked_waiting
