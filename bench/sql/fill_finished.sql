-- Many tasks that have ended, as an old table holds them: spread over the last days, so that none
-- is past its retention yet, in the order of their creation, almost all in SUCCESS. Their ids are
-- UUIDv7 of their own time, older than any that comes.
insert into leaseq.tasks (
    id, queue, type, payload, state, attempt, retry_count, max_attempts, timeout_seconds,
    created_at, run_at, started_at, finished_at, result, error
)
select
    uuidv7(-age), 'default', 'noop', json_build_object('order_id', number, 'note', repeat('x', 70)), state,
    case state when 'SUCCESS' then 1 when 'FAILED' then 5 else 0 end, case state when 'FAILED' then 5 else 0 end, 5, 300,
    now() - age, now() - age,
    case when state <> 'CANCELLED' then now() - age + interval '2 ms' end, now() - age + interval '5 ms',
    case when state = 'SUCCESS' then 'null'::json end,
    case when state = 'FAILED' then json_build_object('code', 'error', 'message', 'it did not work') end
from (
    select
        number,
        interval '60 hours' * (%(count)s - number + 1) / %(count)s as age,
        case when number %% 100 = 0 then 'FAILED' when number %% 200 = 1 then 'CANCELLED' else 'SUCCESS' end as state
    from generate_series(1, %(count)s) as number
) as old
