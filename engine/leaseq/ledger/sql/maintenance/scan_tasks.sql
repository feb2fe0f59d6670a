-- One chunk of the reconciler's scan along the primary key:
--   * tasks that wait without having moved for a while (stranded, if dispatch does not know them), but for those at or behind the
--     beginning of the backlog of their lane in `backlogs` (an id for each priority and queue; one object, because Postgres may join
--     arrays row by row), and for those in `delivered` under the attempt that stands there; suspects are in another lane;
--   * attempts whose worker is closed or unknown (orphans; `owned` is false);
--   * with `running` (seconds, or null), attempts that have run for so long under an open worker (`owned` is true): it may have
--     forgotten them;
--   * FAILED tasks that have no row in `dead_letters`;
--   * SCHEDULED tasks that have been due for a minute and have no row in `scheduled`, by which
--     promote would find them, and that do not wait for a permit. With `ahead` (seconds, or null) the scan ends at ids that were made
--     so much later than now by the clock of this server: a client whose clock is a day ahead must
--     not make a scan over recent tasks long. Returns one row with only `last_id` when the chunk
--     holds none of these; zero rows when the scan is at its end.
with chunk as materialized (
    select id, queue, state, attempt, worker_id, priority, run_at, started_at,
        retry_count, crash_count, loss_count, max_attempts, traits
    from leaseq.tasks
    where id > %(cursor)s::uuid
        and id < coalesce(
            (
                lpad(to_hex((extract(epoch from now()) * 1000)::bigint + %(ahead)s::bigint * 1000), 12, '0') || repeat('0', 20)
            )::uuid,
            'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid
        )
    order by id
    limit %(limit)s
), judged as (
    select chunk.*, case
        when state = 'PROCESSING' then exists (
            select 1 from leaseq.workers w where w.id = chunk.worker_id and w.closed_at is null
        )
    end as owned
    from chunk
), found as (
    select judged.* from judged
    where (
            state = 'PENDING' and run_at < now() - make_interval(secs => %(quiet)s)
            and (
                crash_count + loss_count >= %(suspect)s
                or coalesce(id < (%(backlogs)s::jsonb ->> (priority || queue))::uuid, true)
            )
            and coalesce((%(delivered)s::jsonb ->> id::text)::integer <> attempt, true)
        )
        or (state = 'PROCESSING' and (not owned or started_at < now() - make_interval(secs => %(running)s::float8)))
        or (state = 'SCHEDULED' and run_at < now() - interval '1 minute' and not exists (
            select 1 from leaseq.scheduled s where s.task_id = judged.id
        ) and not (coalesce(traits, 0) & 1 = 1 and exists (
            select 1 from leaseq.limited l where l.task_id = judged.id and l.due
        )))
        or (state = 'FAILED' and not exists (select 1 from leaseq.dead_letters d where d.task_id = judged.id))
)
select
    last.id::text as last_id, found.id::text as task_id, found.queue, found.state, found.attempt, found.worker_id, found.priority,
    found.retry_count, found.crash_count, found.loss_count, found.max_attempts, found.owned, found.traits
from (select id from chunk order by id desc limit 1) as last
left join found on true
