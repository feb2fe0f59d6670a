-- settle: PROCESSING -> SUCCESS, FAILED, CANCELLED, SCHEDULED (retry) or PENDING (released, lost).
-- The one door out of PROCESSING, for workers and reapers alike (handler_succeed.sql is the same
-- for a handler's connection). The condition of the update is the fence: an ending whose attempt or
-- worker is not the current one changes nothing and does not come back. The next state was decided
-- before (lifecycle.after). Only a cancel request that came in the meantime is honoured here, where
-- the row is locked. The array `hand_backs` has the new counts of tasks that themselves caused a
-- hand-back. Successive hand-backs of a task with one cause share one row of `leaseq.attempts`: its
-- column `hand_backs` is the number of attempts that the row stands for, and `attempt` is the first
-- of them. An unknown type and another version of a type are one cause, since a queue may have
-- workers of both kinds. Headers come only from a worker that traces. The time is clock_timestamp(), because now() inside a handler's
-- transaction is the time at which that began. `before` is a column and not a constant for the
-- reason in claim_tasks.sql. The array of ids stands in a subquery, for the reason in
-- submit_tasks.sql.
with endings as materialized (
    select *, 'PROCESSING' as before
    from unnest(
        (select %(ids)s::uuid[]), %(attempts)s::integer[], %(worker_ids)s::text[], %(outcomes)s::text[], %(states)s::text[],
        %(delays)s::float8[], %(retries)s::integer[], %(crashes)s::integer[], %(losses)s::integer[],
        %(hand_backs)s::integer[], %(results)s::text[], %(errors)s::text[], %(attempt_errors)s::text[],
        %(headers)s::text[]
    ) as e (
        id, attempt, worker_id, outcome, state, delay, retries, crashes, losses, hand_backs, result, error, attempt_error,
        headers
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
        hand_back_count = coalesce(e.hand_backs, t.hand_back_count),
        headers = coalesce(e.headers::json, t.headers),
        result = e.result::json,
        error = case when e.state = 'SUCCESS' then null else coalesce(e.error::json, t.error) end
    from endings as e
    where t.id = e.id and t.state = e.before and t.attempt = e.attempt and t.worker_id = e.worker_id
    returning
        t.id, t.attempt, t.state, t.queue, t.priority, t.crash_count, t.loss_count, t.started_at, t.run_at,
        e.worker_id, e.outcome, e.attempt_error, t.type, e.outcome = 'released' and e.hand_backs > 0 as is_hand_back
), recorded as (
    insert into leaseq.attempts as a
        (task_id, attempt, outcome, worker_id, started_at, finished_at, next_state, error, hand_backs)
    select
        id,
        case
            when is_hand_back then coalesce((
                select b.attempt from leaseq.attempts as b
                where b.task_id = settled.id and b.attempt < settled.attempt and b.attempt + b.hand_backs = settled.attempt
                    and replace(b.error ->> 'code', 'other_version', 'unknown_type')
                        = replace(settled.attempt_error::json ->> 'code', 'other_version', 'unknown_type')
                limit 1
            ), attempt)
            else attempt
        end,
        outcome, worker_id, started_at, clock_timestamp(), state, attempt_error::json, case when is_hand_back then 1 end
    from settled
    where outcome <> 'succeeded'
    on conflict (task_id, attempt) do update
    set hand_backs = a.hand_backs + 1, worker_id = excluded.worker_id, finished_at = excluded.finished_at,
        next_state = excluded.next_state, error = excluded.error
    where a.hand_backs is not null
), waiting as (
    insert into leaseq.scheduled (task_id, run_at, queue, priority, awaited_type)
    select
        id, run_at, queue, priority,
        case
            when is_hand_back and attempt_error::json ->> 'code' = 'unknown_type' then type
            when is_hand_back and attempt_error::json ->> 'code' = 'other_version' then type || '#'
        end
    from settled where state = 'SCHEDULED'
    on conflict (task_id) do update set run_at = excluded.run_at, awaited_type = excluded.awaited_type
)
select id::text, attempt, state, queue, priority, crash_count, loss_count, type
from settled
