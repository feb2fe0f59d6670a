-- fire: none -> PENDING or SCHEDULED, for one task of a schedule besides its times, paused or not. Zero rows: there
-- is no such schedule. The key stands for the request: sent again it returns the same task, or null
-- where another transaction has just taken it, and the statement has to be sent again. The
-- revision changes, so that a firing that was read before does not overlook this task. A task
-- with a limit, of its own or of its queue, is SCHEDULED, as in fire_schedules.sql, with the same errors.
with mine as materialized (
    select
        s.*, coalesce(s.limit_name, (select q.limit_name from leaseq.queue_limits as q where q.queue = s.queue)) as bound_to
    from leaseq.schedules as s
    where s.tenant = %(tenant)s and s.name = %(name)s
    for update of s
), keyed as (
    insert into leaseq.idempotency_keys (tenant, key, fingerprint, task_id, queue, expires_at)
    select tenant, %(key)s, '', %(id)s::uuid, queue, now() + make_interval(secs => %(retention)s) from mine
    on conflict (tenant, key) do nothing
    returning task_id
), named as (
    insert into leaseq.queues (name)
    select m.queue from mine as m
    where not exists (select from leaseq.queues as q where q.name = m.queue offset 0)
    on conflict (name) do nothing
), fired as materialized (
    select mine.* from mine, keyed
), moved as (
    update leaseq.schedules as s
    set
        last_at = now(), last_task_id = %(id)s::uuid, fired = s.fired + 1, revision = gen_random_uuid(),
        run_ats = (array[now()] || s.run_ats)[1:%(kept)s], run_tasks = (array[%(id)s::uuid] || s.run_tasks)[1:%(kept)s]
    from fired as f
    where s.tenant = f.tenant and s.name = f.name
), created as (
    insert into leaseq.tasks (
        id, tenant, queue, type, payload, headers, idempotency_key, state, priority, max_attempts, timeout_seconds,
        traits, limit_name, concurrency_key
    )
    select
        %(id)s::uuid, tenant, queue, type, payload,
        (coalesce(headers::jsonb, '{}') || jsonb_build_object(
            'scheduled_at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ))::json,
        %(key)s, case when bound_to is null then 'PENDING' else 'SCHEDULED' end, priority, max_attempts, timeout_seconds,
        case when bound_to is not null then 1::smallint end, bound_to, concurrency_key
    from fired
), lined as (
    insert into leaseq.limited (task_id, limit_id, tenant, key, priority, due)
    select %(id)s::uuid, l.id, f.tenant, coalesce(f.concurrency_key, ''), f.priority, true
    from fired as f
    left join leaseq.limits as l on l.name = f.bound_to
    where f.bound_to is not null
), labelled as (
    insert into leaseq.labels (name, value, tenant, task_id)
    select l.key, l.value, f.tenant, %(id)s::uuid
    from fired as f
    cross join lateral jsonb_each_text(f.labels) as l
    where f.labels is not null
), listed as (
    insert into leaseq.unfinished_tasks (tenant, queue, task_id)
    select f.tenant, f.queue, %(id)s::uuid
    from fired as f
    where exists (
        select from leaseq.tenants as t
        where t.name = f.tenant and (t.unfinished is not null or t.unfinished_per_queue is not null) offset 0
    )
    returning tenant, queue
), counted as (
    insert into leaseq.unfinished_counts (tenant, queue, tasks)
    select tenant, queue, count(*) from listed group by tenant, queue
)
select
    m.queue, m.priority, m.type, m.bound_to as limit_name, exists (select from keyed) as created,
    coalesce(
        (select task_id from keyed),
        (select k.task_id from leaseq.idempotency_keys as k where k.tenant = %(tenant)s and k.key = %(key)s)
    )::text as task_id
from mine as m
