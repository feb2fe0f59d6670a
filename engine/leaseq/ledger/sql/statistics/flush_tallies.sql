-- Insert what one process has counted since its flush before, a row for each queue and type. A flush
-- that was sent before, under the same number, inserts nothing. Always zero rows.
with turn as (
    insert into leaseq.tally_flushes as f (process, role, flush, at)
    values (%(process)s::uuid, %(role)s, %(flush)s, clock_timestamp())
    on conflict (process) do update set flush = excluded.flush, at = excluded.at
    where f.flush < excluded.flush
    returning at
)
insert into leaseq.tallies (
    at, queue, type, created, replayed, started, succeeded, errored, timed_out, cancelled, released, lost,
    failed_tasks, cancelled_tasks, waited, ran, waits, runs
)
select
    turn.at, c.queue, c.type, c.created, c.replayed, c.started, c.succeeded, c.errored, c.timed_out,
    c.cancelled, c.released, c.lost, c.failed_tasks, c.cancelled_tasks, c.waited, c.ran,
    c.waits::integer[], c.runs::integer[]
from turn, unnest(
    %(queues)s::text[], %(types)s::text[], %(created)s::bigint[], %(replayed)s::bigint[],
    %(started)s::bigint[], %(succeeded)s::bigint[], %(errored)s::bigint[], %(timed_out)s::bigint[],
    %(cancelled)s::bigint[], %(released)s::bigint[], %(lost)s::bigint[], %(failed_tasks)s::bigint[],
    %(cancelled_tasks)s::bigint[], %(waited)s::float8[], %(ran)s::float8[], %(waits)s::text[],
    %(runs)s::text[]
) as c (
    queue, type, created, replayed, started, succeeded, errored, timed_out, cancelled, released, lost,
    failed_tasks, cancelled_tasks, waited, ran, waits, runs
)
