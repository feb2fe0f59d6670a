-- Repair rows of `limited` that a process of an older version, or SQL of an operator, has left behind.
-- A row whose task has ended, or does not exist, is deleted. A row of a task that waits for a time gives
-- its permit back, unless its limit has strict order. The tasks are locked first, because every change of such a row holds that lock; a
-- task that is locked elsewhere is left to the next pass. Rows of tasks that do not exist cannot come
-- back. Zero rows: nothing was wrong. Otherwise the limit of each repaired row.
with listed as materialized (
    select * from unnest((select %(ids)s::uuid[])) as l (task_id)
), held as materialized (
    select t.id, t.state
    from listed
    join leaseq.tasks as t on t.id = listed.task_id
    order by t.id
    for no key update of t skip locked
), ended as (
    delete from leaseq.limited as x
    using held
    where x.task_id = held.id and held.state in ('SUCCESS', 'FAILED', 'CANCELLED')
    returning x.task_id, x.limit_id
), lost as (
    delete from leaseq.limited as x
    using listed
    where x.task_id = listed.task_id and not exists (select from leaseq.tasks as t where t.id = listed.task_id)
    returning x.task_id, x.limit_id
), returned as (
    update leaseq.limited as x
    set admitted_at = null, started_at = null, due = not exists (select from leaseq.scheduled as s where s.task_id = x.task_id)
    from held, leaseq.limits as l
    where x.task_id = held.id and held.state = 'SCHEDULED' and x.admitted_at is not null and l.id = x.limit_id
        and not (l.strict and exists (select from leaseq.scheduled as s where s.task_id = x.task_id))
    returning x.task_id, x.limit_id
)
select repaired.task_id::text as task_id, l.name
from (select * from ended union all select * from lost union all select * from returned) as repaired
join leaseq.limits as l on l.id = repaired.limit_id
