-- List those of these tasks that are PROCESSING, in one tenant (in any: null), the longest running
-- first, at most %(limit)s. `host` is that of the worker (null: its row is pruned), and `now` is the
-- time of this server. Each task is found by its id; the array stands in a subquery, for the reason in
-- submit_tasks.sql. Always one row: its task_id is null where none of them runs.
select
    clock_timestamp() as now, found.id::text as task_id, found.tenant, found.queue, found.type, found.attempt,
    found.max_attempts, found.timeout_seconds, found.started_at, found.cancel_requested_at, found.worker_id,
    found.progress, found.host
from (select 1) as one
left join (
    select
        t.id, t.tenant, t.queue, t.type, t.attempt, t.max_attempts, t.timeout_seconds, t.started_at,
        t.cancel_requested_at, t.worker_id, t.progress::text as progress, w.host
    from leaseq.tasks as t
    left join leaseq.workers as w on w.id = t.worker_id
    where t.id = any((select %(ids)s::uuid[])::uuid[]) and t.state = 'PROCESSING'
        and (%(tenant)s::text is null or t.tenant = %(tenant)s)
    order by t.started_at, t.id
    limit %(limit)s
) as found on true
order by found.started_at, found.id
