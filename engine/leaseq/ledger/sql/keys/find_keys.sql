-- Find the tasks that these idempotency keys stand for. Zero rows for a key: it was pruned, or has
-- expired and its task has ended; submit again. `on_standbys`: this server waits for standbys, and
-- may show rows that they do not have (wait_for_standby.sql). The task columns are null once the
-- task has been pruned; then `final_state` remains.
-- The array of tenants stands in a subquery, for the reason in submit_tasks.sql.
select
    k.tenant, k.key, k.fingerprint, k.task_id::text as task_id,
    coalesce(t.state, k.final_state, 'CANCELLED') as state,
    coalesce(t.created_at, k.created_at) as created_at,
    coalesce(t.run_at, k.created_at) as run_at,
    k.queue, coalesce(t.priority, 0::smallint) as priority, t.headers::text as headers,
    current_setting('synchronous_standby_names') <> '' as on_standbys
from unnest((select %(tenants)s::text[]), %(keys)s::text[]) as wanted (tenant, key)
join leaseq.idempotency_keys k on k.tenant = wanted.tenant and k.key = wanted.key
left join leaseq.tasks t on t.id = k.task_id
where k.expires_at > now() or t.state in ('PENDING', 'SCHEDULED', 'PROCESSING')
