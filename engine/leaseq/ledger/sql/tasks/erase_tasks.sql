-- erase: no transition. Remove what the client and the handler have written from tasks that have
-- ended: payload, headers, result, error, progress, labels, the key of a limit, the unique key, and all attempts. The rows stay until they are
-- pruned. Their idempotency keys stay, too, and keep standing for them: a client that repeats its
-- submission must not bring the content back. A dead letter stays, because its task stays FAILED, and
-- keeps nothing of the error. The fingerprint of a key is a hash of the content, by
-- which a short content could be guessed, so it is emptied; an empty one matches every submission.
-- Zero rows for an id: no such task in this tenant (null: in any), it has not ended, it was erased
-- before, or it was redriven and has ended again while this statement waited for its row. The time
-- of the end tells the latter: this statement does not see attempts that were recorded since its
-- snapshot, and must not leave them behind. The tasks are locked before their keys, and in order of
-- id, as prune and redrive do.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
with seen as materialized (
    select id, finished_at from leaseq.tasks
    where id = any((select %(ids)s::uuid[])::uuid[]) and state in ('SUCCESS', 'FAILED', 'CANCELLED')
), found as materialized (
    select t.id, t.tenant, t.idempotency_key, t.state, t.type, t.unique_hold, t.unique_key
    from leaseq.tasks as t
    join seen on seen.id = t.id and seen.finished_at = t.finished_at
    where (%(tenant)s::text is null or t.tenant = %(tenant)s::text)
        and t.state in ('SUCCESS', 'FAILED', 'CANCELLED') and t.erased_at is null
    order by t.id
    for update of t
), attempts as (
    delete from leaseq.attempts as a using found where a.task_id = found.id
), fingerprints as (
    update leaseq.idempotency_keys as k set fingerprint = ''
    from found
    where k.tenant = found.tenant and k.key = found.idempotency_key and k.task_id = found.id
), unique_keys as materialized (
    -- Row by row, because without statistics Postgres would read all keys for each. Without a limit it would join them.
    select u.place, u.until, found.state
    from found
    cross join lateral (
        select u.ctid as place, u.until from leaseq.uniques as u
        where u.tenant = found.tenant and u.type = found.type and u.hold = found.unique_hold and u.key = found.unique_key
            and u.task_id = found.id
        limit 1
        for update
    ) as u
), unique_gone as (
    delete from leaseq.uniques as u using unique_keys as k where u.ctid = k.place and coalesce(k.until <= clock_timestamp(), true)
), unique_kept as (
    -- A period that is not over keeps its row, until prune_uniques.sql.
    update leaseq.uniques as u
    set final_state = k.state
    from unique_keys as k
    where u.ctid = k.place and k.until > clock_timestamp()
), dead as (
    update leaseq.dead_letters as d set code = 'erased', fingerprint = null
    from found
    where d.task_id = found.id
), labels as (
    delete from leaseq.labels as l using found where l.task_id = found.id
)
update leaseq.tasks as t
set erased_at = clock_timestamp(), payload = null, headers = null, result = null, error = null, progress = null,
    concurrency_key = null, unique_key = null
from found
where t.id = found.id
returning t.id::text
