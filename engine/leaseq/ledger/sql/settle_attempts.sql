-- settle: PROCESSING -> SUCCESS, FAILED, CANCELLED, SCHEDULED (retry) or PENDING (released, lost).
-- The one door out of PROCESSING, for workers and reapers alike. The condition is the fence: an ending whose attempt or
-- worker is not the current one changes nothing and does not come back. What follows was decided before
-- (lifecycle.after); only a cancel request that came in the meantime is honoured here, where the row is locked.
-- clock_timestamp(), because inside a handler's transaction now() is the time at which that began.
-- `before` is a column and not a constant for the reason told in claim_tasks.sql.
with endings as materialized (
    select *, 'PROCESSING' as before
    from unnest(
        %(ids)s::uuid[], %(attempts)s::integer[], %(worker_ids)s::text[], %(outcomes)s::text[], %(states)s::text[],
        %(delays)s::float8[], %(retries)s::integer[], %(crashes)s::integer[], %(losses)s::integer[],
        %(results)s::text[], %(errors)s::text[], %(attempt_errors)s::text[]
    ) as e (
        id, attempt, worker_id, outcome, state, delay, retries, crashes, losses, result, error, attempt_error
    )
), settled as (
    update leaseq.tasks as t
    set state = case
            when t.cancel_requested_at is not null and e.state in ('PENDING', 'SCHEDULED') then 'CANCELLED'
            else e.state
        end,
        finished_at = case
            when t.cancel_requested_at is not null or e.state in ('SUCCESS', 'FAILED', 'CANCELLED')
            then clock_timestamp()
        end,
        run_at = case
            when e.state in ('PENDING', 'SCHEDULED') then clock_timestamp() + make_interval(secs => e.delay)
            else t.run_at
        end,
        worker_id = null,
        retry_count = t.retry_count + e.retries,
        crash_count = t.crash_count + e.crashes,
        loss_count = t.loss_count + e.losses,
        result = e.result::json,
        error = case when e.state = 'SUCCESS' then null else coalesce(e.error::json, t.error) end
    from endings as e
    where t.id = e.id and t.state = e.before and t.attempt = e.attempt and t.worker_id = e.worker_id
    returning
        t.id, t.attempt, t.state, t.queue, t.priority, t.crash_count, t.loss_count, t.started_at, t.run_at,
        e.worker_id, e.outcome, e.attempt_error
), recorded as (
    insert into leaseq.attempts
        (task_id, attempt, outcome, worker_id, started_at, finished_at, next_state, error)
    select id, attempt, outcome, worker_id, started_at, clock_timestamp(), state, attempt_error::json
    from settled
    where outcome <> 'succeeded'
), waiting as (
    insert into leaseq.scheduled (task_id, run_at, queue, priority)
    select id, run_at, queue, priority from settled where state = 'SCHEDULED'
    on conflict (task_id) do update set run_at = excluded.run_at
)
select id::text, attempt, state, queue, priority, crash_count, loss_count
from settled
