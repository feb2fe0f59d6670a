-- List the tasks that were written since `since` (the `horizon` of an earlier answer, find_changed.sql;
-- null: all of them), of any tenant: among the newest `rows` tasks and among `ids`. The newest are
-- found along the primary key, because there is no index on what changes (decision 3), so the cost
-- does not depend on the size of the table. A task may come twice. There is always a row, for the
-- horizon; its id is null where nothing was found.
select now.horizon, t.version, t.id::text as task_id, tenant, queue, type, state, attempt, created_at, run_at, started_at,
    finished_at, cancel_requested_at
from (select pg_snapshot_xmin(pg_current_snapshot())::text as horizon) as now
left join (
    select *
    from (
        (
            select xmin as written, xmin::text as version, id, tenant, queue, type, state, attempt, created_at, run_at,
                started_at, finished_at, cancel_requested_at
            from leaseq.tasks
            order by id desc
            limit %(rows)s
        )
        union all
        select xmin as written, xmin::text as version, id, tenant, queue, type, state, attempt, created_at, run_at,
            started_at, finished_at, cancel_requested_at
        from leaseq.tasks
        where id = any((select %(ids)s::uuid[])::uuid[])
    ) as looked_at
    where age(written) <= (select coalesce(age(%(since)s::xid8::xid), 2147483647))
) as t on true
