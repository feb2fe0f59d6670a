-- Sum the statistics since %(since)s in steps of %(step)s seconds, three times: a row for each step that
-- has any (`at`), a row for each queue and type (`at` is null), and a row for each queue (`type` is null,
-- too), those that ran longest first. All of one queue or one type, if given. Tallies that no reaper has
-- folded yet are included, the newest %(tallies)s of them: in one snapshot a count is either in
-- `tallies` or in `stats`. At most %(pairs)s pairs and as many queues are returned. Zero rows: nothing
-- was counted.
with found as materialized (
    select s.at as bucket, s.* from leaseq.stats as s
    where s.step = %(step)s::smallint and s.at >= %(since)s::timestamptz
        and (%(queue)s::text is null or s.queue = %(queue)s) and (%(type)s::text is null or s.type = %(type)s)
    union all
    select date_bin(make_interval(secs => %(step)s), t.at, 'epoch') as bucket, %(step)s::smallint as step, t.*
    from (
        select * from leaseq.tallies where at >= %(since)s::timestamptz order by at desc limit %(tallies)s
    ) as t
    where (%(queue)s::text is null or t.queue = %(queue)s) and (%(type)s::text is null or t.type = %(type)s)
), sums as (
    select
        bucket, queue, type, sum(created)::bigint as created, sum(replayed)::bigint as replayed,
        sum(started)::bigint as started, sum(succeeded)::bigint as succeeded, sum(errored)::bigint as errored,
        sum(timed_out)::bigint as timed_out, sum(cancelled)::bigint as cancelled,
        sum(released)::bigint as released, sum(lost)::bigint as lost,
        sum(failed_tasks)::bigint as failed_tasks, sum(cancelled_tasks)::bigint as cancelled_tasks,
        sum(waited) as waited, sum(ran) as ran
    from found
    group by grouping sets ((bucket), (queue, type), (queue))
), marks as (
    select bucket, queue, type, h.n, coalesce(sum(h.waited), 0) as waits, coalesce(sum(h.ran), 0) as runs
    from found, unnest(waits, runs) with ordinality as h (waited, ran, n)
    group by grouping sets ((bucket, h.n), (queue, type, h.n), (queue, h.n))
), histograms as (
    select
        bucket, queue, type, array_agg(waits order by n)::bigint[] as waits, array_agg(runs order by n)::bigint[] as runs
    from marks
    group by bucket, queue, type
), ranked as (
    select s.*, row_number() over (partition by s.bucket is null, s.type is null order by s.ran desc, s.created desc, s.queue, s.type) as rank
    from sums as s
)
select
    r.bucket as at, r.queue, r.type, r.created, r.replayed, r.started, r.succeeded, r.errored, r.timed_out,
    r.cancelled, r.released, r.lost, r.failed_tasks, r.cancelled_tasks, r.waited, r.ran,
    coalesce(h.waits, '{}') as waits, coalesce(h.runs, '{}') as runs
from ranked as r
left join histograms as h on coalesce(h.bucket, '-infinity') = coalesce(r.bucket, '-infinity')
    and coalesce(h.queue, '') = coalesce(r.queue, '') and coalesce(h.type, '') = coalesce(r.type, '')
where r.bucket is not null or r.rank <= %(pairs)s
order by r.bucket, r.rank
