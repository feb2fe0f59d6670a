-- claim: PENDING -> PROCESSING, attempt + 1. Never from PROCESSING: taking over begins with
-- settling as lost. The worker's own row is locked against the recovery that would close it. A
-- closed worker claims nothing, so a worker that froze between its pull and its claim cannot come
-- back with a task that was given to another. It claims nothing of a queue that it does not serve:
-- dispatch is not believed, because any program may write there. The queues of a worker stand in
-- its own row, so this needs no further statement or argument. It claims nothing of a paused queue:
-- a delivery may have been on its way when the pause began, or dispatch may have lost its flag. Up
-- to eight paused queues are read once. Beyond eight, each task looks up its own queue, because
-- clients can make up any number of names. A row that does not come back was not PENDING, its queue
-- is paused or belongs to other workers, or the worker is closed (find_snapshots.sql,
-- list_queues.sql and find_worker.sql tell which). The values that a task must have are columns
-- of `wanted` and not constants or other tables, on purpose: an hour-old statistic may say that
-- almost nothing is PENDING, and Postgres would then begin with "the one" PENDING row and compare
-- it, and 20,000 others, with each id. Where the table was almost empty, it would begin with all
-- tasks of the worker's queues. `expired` is true past `expires_at` unless an earlier attempt began: only a task that never
-- began expires. An attempt that its worker handed over without starting it did not begin. The
-- attempts are read for such tasks alone.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
with me as (
    select id, queues, array(select name from leaseq.queues where paused limit 9) as paused
    from leaseq.workers
    where id = %(worker_id)s and closed_at is null
    for share
), wanted as materialized (
    select w.id, 'PENDING' as state, me.id as worker_id, me.queues, me.paused
    from me, unnest((select %(ids)s::uuid[])) as w (id)
)
update leaseq.tasks as t
set state = 'PROCESSING', attempt = t.attempt + 1, worker_id = wanted.worker_id,
    started_at = clock_timestamp(), progress = null
from wanted
where t.id = wanted.id and t.state = wanted.state and case
    when cardinality(wanted.paused) < 9 then t.queue <> all(wanted.paused)
    else not coalesce((select q.paused from leaseq.queues as q where q.name = t.queue), false)
end and t.queue = any(wanted.queues)
returning
    t.id::text, t.attempt, t.tenant, t.queue, t.type, t.payload::text, t.retry_count, t.crash_count, t.loss_count,
    t.max_attempts, t.timeout_seconds, t.headers::text,
    case when t.expires_at <= now() then coalesce((
        select false from leaseq.attempts as a
        where a.task_id = t.id and coalesce(a.error ->> 'code', '') not in ('unknown_type', 'other_version', 'isolated')
        limit 1
    ), true) else false end as expired, t.hand_back_count,
    greatest(date_part('epoch', t.started_at - t.run_at), 0) as waited, t.traits
