-- Find the tasks that another transaction has locked, in `tasks` or in `scheduled`. Asked after a
-- statement over several tasks has met a lock that was not let go in time: the other tasks need not
-- wait. Waits for no row. No transition. The rows that are free are locked until the end of this
-- statement, which is what tells them apart. Zero rows: none of them is locked (or the lock was let
-- go, or it is of a table or of another row).
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
