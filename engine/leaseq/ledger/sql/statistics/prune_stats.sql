-- Delete sums past their retention: of minutes after %(minutes)s seconds, of ten minutes after
-- %(tens)s, of hours after %(hours)s. At most %(limit)s of each. Zero rows: there are none.
delete from leaseq.stats as s
where s.ctid = any(array(
    select old.ctid
    from (values (60, %(minutes)s::float8), (600, %(tens)s::float8), (3600, %(hours)s::float8)) as r (step, seconds)
    cross join lateral (
        select ctid from leaseq.stats
        where step = r.step and at < clock_timestamp() - make_interval(secs => r.seconds)
        order by at
        limit %(limit)s
    ) as old
))
returning s.step
