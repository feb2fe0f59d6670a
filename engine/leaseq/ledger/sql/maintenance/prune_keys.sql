-- Look at a batch of idempotency keys past their retention, in the order in which they expired.
-- Those whose task has ended are deleted. The others expire `again` seconds from now, because a key
-- stands for its task at least until that has ended. A batch begins where the last one ended, not
-- among the dead entries that the last one left in the index. One row always, never zero rows: when
-- the last of them expired (null: there was none), the number that was looked at, and the number
-- that was deleted.
with old as materialized (
    select tenant, key, task_id, expires_at from leaseq.idempotency_keys
    where expires_at >= coalesce(%(since)s::timestamptz, '-infinity') and expires_at < now()
    order by expires_at
    limit %(limit)s
    for update skip locked
), judged as materialized (
    -- Row by row, because old statistics would have Postgres read all tasks. Without a limit Postgres would join them.
    select old.tenant, old.key, coalesce(t.state in ('PENDING', 'SCHEDULED', 'PROCESSING'), false) as waits
    from old
    left join lateral (select state from leaseq.tasks where id = old.task_id limit 1) as t on true
), kept as (
    update leaseq.idempotency_keys as k set expires_at = now() + make_interval(secs => %(again)s)
    from judged as j
    where j.waits and k.tenant = j.tenant and k.key = j.key
), gone as (
    delete from leaseq.idempotency_keys as k using judged as j
    where not j.waits and k.tenant = j.tenant and k.key = j.key
    returning k.key
)
select
    (select max(expires_at) from old) as last, (select count(*) from old) as seen, (select count(*) from gone) as count
