-- Many tasks that ended longer ago than an hour, with their keys, which are kept for another week;
-- and as many keys of tasks that are gone already, whose own time is over.
with old as (
    insert into leaseq.tasks (
        id, queue, type, payload, idempotency_key, state, attempt, retry_count, max_attempts, timeout_seconds,
        created_at, run_at, started_at, finished_at, result
    )
    select
        uuidv7(-age), 'default', 'noop', json_build_object('order_id', number, 'note', repeat('x', 70)), 'old-' || number,
        'SUCCESS', 1, 0, 5, 300, now() - age, now() - age, now() - age + interval '2 ms', now() - age + interval '5 ms', 'null'
    from (
        select number, interval '2 hours' + interval '58 hours' * (%(count)s - number) / %(count)s as age
        from generate_series(1, %(count)s) as number
    ) as aged
    returning id, tenant, idempotency_key, queue, created_at
), kept as (
    insert into leaseq.idempotency_keys (tenant, key, fingerprint, task_id, queue, created_at, expires_at)
    select tenant, idempotency_key, decode(md5(idempotency_key), 'hex'), id, queue, created_at, created_at + interval '7 days'
    from old
)
insert into leaseq.idempotency_keys (tenant, key, fingerprint, task_id, queue, created_at, expires_at, final_state)
select
    'default', 'gone-' || number, decode(md5(number::text), 'hex'), uuidv7(-age), 'default', now() - age,
    now() - age + interval '7 days', 'SUCCESS'
from (
    select number, interval '7 days' + interval '1 day' * (%(count)s - number + 1) / %(count)s as age
    from generate_series(1, %(count)s) as number
) as aged
