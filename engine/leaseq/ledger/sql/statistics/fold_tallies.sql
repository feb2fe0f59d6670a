-- Fold tallies that are older than %(age)s seconds into the sums of their minute, ten minutes and
-- hour: at most %(most)s of them, the oldest first. Always one row, with their number, never zero rows. It
-- is 0 while another fold runs, and if one has begun in the last %(pause)s seconds: a statement that
-- waited for it would not see its rows.
--
-- A step has at most %(pairs)s pairs of queue and type, and further ones are summed as `(other)`.
with turn as (
    update leaseq.stats_fold as f
    set folded_at = clock_timestamp(),
        began_at = coalesce(f.began_at, (select min(at) from leaseq.tally_flushes))
    from (
        select one from leaseq.stats_fold
        where folded_at <= clock_timestamp() - make_interval(secs => %(pause)s)
        for update skip locked
    ) as free
    where f.one = free.one
    returning f.one
), gone as (
    delete from leaseq.tallies
    where ctid = any(array(
        select ctid from leaseq.tallies
        where at < clock_timestamp() - make_interval(secs => %(age)s) and exists (select from turn)
        order by at
        limit %(most)s
        for update skip locked
    ))
    returning *
), pairs as (
    select distinct s.step, date_bin(make_interval(secs => s.step), g.at, 'epoch') as bucket, g.queue, g.type
    from gone as g
    cross join unnest(array[60, 600, 3600]) as s (step)
), sizes as materialized (
    select b.step, b.bucket, (
        select count(*) from leaseq.stats as k where k.step = b.step and k.at = b.bucket and k.type <> '(other)'
    ) as pairs
    from (select distinct step, bucket from pairs) as b
), named as (
    select
        p.step, p.bucket, p.queue, p.type,
        k.type is not null or p.type = '(other)' or z.pairs + row_number() over (
            partition by p.step, p.bucket, k.type is null and p.type <> '(other)' order by p.queue, p.type
        ) <= %(pairs)s as admitted
    from pairs as p
    join sizes as z on z.step = p.step and z.bucket = p.bucket
    left join leaseq.stats as k on k.step = p.step and k.at = p.bucket and k.queue = p.queue and k.type = p.type
), placed as materialized (
    select
        n.step, n.bucket, case when n.admitted then g.queue else '(other)' end as in_queue,
        case when n.admitted then g.type else '(other)' end as of_type, g.*
    from gone as g
    join named as n on n.queue = g.queue and n.type = g.type
        and n.bucket = date_bin(make_interval(secs => n.step), g.at, 'epoch')
), marks as (
    select step, bucket, in_queue, of_type, h.n, coalesce(sum(h.waited), 0) as waits, coalesce(sum(h.ran), 0) as runs
    from placed, unnest(waits, runs) with ordinality as h (waited, ran, n)
    group by step, bucket, in_queue, of_type, h.n
), histograms as (
    select
        step, bucket, in_queue, of_type, array_agg(waits order by n)::integer[] as waits,
        array_agg(runs order by n)::integer[] as runs
    from marks
    group by step, bucket, in_queue, of_type
), written as (
    insert into leaseq.stats as s (
        step, at, queue, type, created, replayed, started, succeeded, errored, timed_out, cancelled, released,
        lost, failed_tasks, cancelled_tasks, waited, ran, waits, runs
    )
    select
        p.step, p.bucket, p.in_queue, p.of_type, sum(created), sum(replayed), sum(started), sum(succeeded),
        sum(errored), sum(timed_out), sum(cancelled), sum(released), sum(lost), sum(failed_tasks),
        sum(cancelled_tasks), sum(waited), sum(ran), coalesce(h.waits, '{}'), coalesce(h.runs, '{}')
    from placed as p
    left join histograms as h on h.step = p.step and h.bucket = p.bucket
        and h.in_queue = p.in_queue and h.of_type = p.of_type
    group by p.step, p.bucket, p.in_queue, p.of_type, h.waits, h.runs
    order by p.step, p.bucket, p.in_queue, p.of_type
    on conflict (step, at, queue, type) do update
    set created = s.created + excluded.created, replayed = s.replayed + excluded.replayed,
        started = s.started + excluded.started, succeeded = s.succeeded + excluded.succeeded,
        errored = s.errored + excluded.errored, timed_out = s.timed_out + excluded.timed_out,
        cancelled = s.cancelled + excluded.cancelled, released = s.released + excluded.released,
        lost = s.lost + excluded.lost, failed_tasks = s.failed_tasks + excluded.failed_tasks,
        cancelled_tasks = s.cancelled_tasks + excluded.cancelled_tasks,
        waited = s.waited + excluded.waited, ran = s.ran + excluded.ran,
        waits = coalesce((
            select array_agg(coalesce(u.old, 0) + coalesce(u.more, 0) order by u.n)
            from unnest(s.waits, excluded.waits) with ordinality as u (old, more, n)
        ), '{}'),
        runs = coalesce((
            select array_agg(coalesce(u.old, 0) + coalesce(u.more, 0) order by u.n)
            from unnest(s.runs, excluded.runs) with ordinality as u (old, more, n)
        ), '{}')
)
select count(*)::integer as folded from gone
