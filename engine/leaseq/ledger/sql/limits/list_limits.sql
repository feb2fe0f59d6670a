-- List the next limits by name, with the permits that are given and the tasks that wait: of one tenant,
-- or of all (null). At most `most` tasks of a limit are counted. `oldest_at` is the time since which the
-- task waits that is first in id order among the counted ones. The limits of fair queues are read by name
-- only. Zero rows: there are no more limits.
select
    l.name, l.concurrency, l.key_concurrency, l.rate, l.burst, l.key_rate, l.key_burst, l.strict, l.weights::text as weights,
    l.updated_at,
    admitted.count as admitted, waiting.count as waiting, waiting.oldest_at
from leaseq.limits as l
cross join lateral (
    select count(*)::integer as count from (
        select from leaseq.limited as x
        where x.limit_id = l.id and x.admitted_at is not null and (%(tenant)s::text is null or x.tenant = %(tenant)s::text)
        limit %(most)s
    ) as counted
) as admitted
cross join lateral (
    select count(*)::integer as count, min(counted.since) as oldest_at from (
        select x.since from leaseq.limited as x
        where x.limit_id = l.id and x.admitted_at is null and x.due and (%(tenant)s::text is null or x.tenant = %(tenant)s::text)
        limit %(most)s
    ) as counted
) as waiting
where l.name > %(after)s::text and case when %(name)s::text is null then l.name not like '@%%' else l.name = %(name)s::text end
order by l.name
limit %(limit)s
