-- submit: none -> PENDING or SCHEDULED. The rows of key and task are inserted in one statement,
-- hence in one transaction. Rows are sent in arrays. A submission whose key is taken creates
-- nothing and does not come back, and neither does one whose id exists already (the same submission
-- sent again). A taken key is not even locked, so that replays cost no write and wait for no
-- transaction; find_keys.sql and expire_keys.sql decide whether it has expired. Keys are inserted
-- in order, so that two batches that share keys wait for each other instead of deadlocking. The
-- statement waits for a key that an open transaction elsewhere has inserted, but not longer than
-- `patience` (milliseconds, as text; null in a caller's own transaction, which has its own limit).
-- Then the whole statement fails with 55P03 and nothing was written.
-- The array of ids stands in a subquery, so that Postgres expects as many rows from an unknown array
-- as from a known one, and keeps one plan: planning costs a lone task more than the insert.
with patience as materialized (
    select set_config('lock_timeout', coalesce(%(patience)s::text, current_setting('lock_timeout')), true)
), sent as (
    select *
    from unnest(
        (select %(task_id)s::uuid[]), %(tenant)s::text[], %(queue)s::text[], %(type)s::text[], %(payload)s::text[],
        %(headers)s::text[], %(idempotency_key)s::text[], %(fingerprint)s::bytea[], %(priority)s::smallint[],
        %(max_attempts)s::integer[], %(timeout_seconds)s::float8[], %(delay_seconds)s::float8[], %(run_at)s::timestamptz[],
        %(expires_at)s::timestamptz[]
    ) as s (
        id, tenant, queue, type, payload, headers, key, fingerprint, priority,
        max_attempts, timeout_seconds, delay, run_at, expires_at
    )
), keyed as (
    insert into leaseq.idempotency_keys as k (tenant, key, fingerprint, task_id, queue, expires_at)
    select tenant, key, fingerprint, id, queue, now() + make_interval(secs => %(retention)s)
    from patience, sent
    where key is not null
    order by tenant, key
    on conflict (tenant, key) do nothing
    returning k.task_id
), named as (
    -- Not inside a caller's transaction: a new name would hold up every other submission to that queue until its commit.
    -- A known name is only read, so that no open transaction on its row (a pause without its commit) holds up submissions.
    -- `offset 0` keeps this a look into the index for each name, instead of a join with all names.
    insert into leaseq.queues (name)
    select s.queue from (select distinct queue from sent where not %(after_commit)s) as s
    where not exists (select from leaseq.queues as q where q.name = s.queue offset 0)
    order by s.queue
    on conflict (name) do nothing
), created as (
    insert into leaseq.tasks (
        id, tenant, queue, type, payload, headers, idempotency_key, state, priority,
        max_attempts, timeout_seconds, run_at, expires_at
    )
    select
        id, tenant, queue, type, payload::json, headers::json, key,
        case
            when %(after_commit)s or coalesce(run_at, now() + make_interval(secs => delay), now()) > now()
            then 'SCHEDULED'
            else 'PENDING'
        end,
        priority, max_attempts, timeout_seconds,
        coalesce(run_at, now() + make_interval(secs => delay), now()), expires_at
    from sent
    where key is null or id in (select task_id from keyed)
    on conflict (id) do nothing
    returning id, tenant, queue, state, created_at, run_at, priority
), waiting as (
    insert into leaseq.scheduled (task_id, run_at, queue, priority)
    select id, run_at, queue, priority from created where state = 'SCHEDULED'
    on conflict (task_id) do nothing
)
select id::text, state, created_at, run_at from created
