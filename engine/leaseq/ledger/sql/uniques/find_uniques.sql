-- Find the tasks that have these unique keys, in a statement of its own, because a statement that takes
-- a key sees the tasks as they were when it began to wait. `state` is null where the task does not
-- exist any more and no period of it is left. `is_held_back`: its run can be put off, because it has not
-- begun and waits for a time. Zero rows for a key: no task has it. `on_standbys`: as in find_keys.sql.
-- The array of tenants stands in a subquery, for the reason in submit_tasks.sql.
select
    u.tenant, u.type, u.hold, u.key, u.task_id::text as task_id, u.version,
    coalesce(t.state, u.final_state) as state,
    coalesce(t.created_at, u.first_at) as created_at,
    coalesce(t.run_at, u.first_at) as run_at,
    coalesce(t.queue, '') as queue, coalesce(t.priority, 0::smallint) as priority, t.headers::text as headers,
    coalesce(u.until > clock_timestamp(), false) as in_period,
    coalesce(t.run_at <= clock_timestamp(), false) as is_due,
    coalesce(
        t.state = 'SCHEDULED' and t.attempt = 0 and exists (select from leaseq.scheduled as s where s.task_id = t.id), false
    ) as is_held_back,
    current_setting('synchronous_standby_names') <> '' as on_standbys
from unnest((select %(tenants)s::text[]), %(types)s::text[], %(holds)s::text[], %(keys)s::text[]) as w (tenant, type, hold, key)
cross join lateral (
    -- Row by row, because without statistics Postgres would read all keys for each. Without a limit it would join them.
    select * from leaseq.uniques as u
    where u.tenant = w.tenant and u.type = w.type and u.hold = w.hold and u.key = w.key
    limit 1
) as u
left join lateral (
    select * from leaseq.tasks as t where t.id = u.task_id limit 1
) as t on true
