-- Sum the run times of one type in one queue over so many hours, as a histogram. One row always.
with found as (
    select u.n, sum(u.count) as count
    from leaseq.stats as s, unnest(s.runs) with ordinality as u (count, n)
    where s.step = 3600 and s.at >= clock_timestamp() - make_interval(hours => %(hours)s)
        and s.queue = %(queue)s and s.type = %(type)s
    group by u.n
)
select coalesce(array_agg(count order by n)::bigint[], '{}') as runs from found
