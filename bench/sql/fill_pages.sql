-- Tasks as a large deployment has them, for its pages: `count` in one state, spread over twenty queues,
-- of which the first ones have most, and fifty types. Finished ones ended within the last days, in the
-- order of their creation. `first` keeps the ids of several calls in order: they are made that many
-- hours ago, and within `hours` of each other.
insert into leaseq.tasks (
    id, queue, type, payload, state, attempt, max_attempts, timeout_seconds,
    created_at, run_at, started_at, finished_at, result
)
select
    uuidv7(-age), 'queue-' || floor(20 * random() ^ 3), 'type-' || number %% 50,
    json_build_object('order_id', number, 'note', repeat('x', 70)), %(state)s,
    case %(state)s when 'SUCCESS' then 1 else 0 end, 5, 300, now() - age, now() - age,
    case %(state)s when 'SUCCESS' then now() - age + interval '2 ms' end,
    case %(state)s when 'SUCCESS' then now() - age + interval '5 ms' end,
    case %(state)s when 'SUCCESS' then 'null'::json end
from (
    select
        number,
        make_interval(secs => 3600 * (%(first)s - %(hours)s * number::float8 / %(count)s)) as age
    from generate_series(1, %(count)s) as number
) as old
