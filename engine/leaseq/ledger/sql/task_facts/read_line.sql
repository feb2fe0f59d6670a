-- Read the line in which a task waits for a permit of its limit: how many permits the limit has given
-- and its key, and how many tasks of the key are before it. At most `most` of each are counted.
-- `start_in` and `key_start_in` are the seconds until the rate, and that of the key, have a token; null:
-- there is no rate. Zero rows: it waits in no line.
select
    l.name as limit, x.key, l.concurrency, l.key_concurrency,
    case when g.rate_every is not null then greatest(0, g.rate_every * (
        1 - g.rate_most + least(g.rate_most, coalesce(extract(epoch from greatest(g.tat, now()) - now()) / g.rate_every, 0)) + (
            select count(*) from leaseq.limited as a
            where a.limit_id = x.limit_id and a.admitted_at is not null and a.started_at is null and a.due
        )
    ))::float8 end as start_in,
    case when g.key_every is not null then greatest(0, g.key_every * (
        1 - g.key_most + least(g.key_most, coalesce((
            select extract(epoch from greatest(b.tat, now()) - now()) / g.key_every from leaseq.buckets as b
            where b.limit_id = x.limit_id and b.tenant = x.tenant and b.key = x.key
        ), 0)) + (
            select count(*) from leaseq.limited as a
            where a.limit_id = x.limit_id and a.tenant = x.tenant and a.key = x.key
                and a.admitted_at is not null and a.started_at is null and a.due
        )
    ))::float8 end as key_start_in,
    (
        select count(*)::integer from (
            select from leaseq.limited as a where a.limit_id = x.limit_id and a.admitted_at is not null limit %(most)s
        ) as counted
    ) as admitted,
    (
        select count(*)::integer from (
            select from leaseq.limited as a
            where a.limit_id = x.limit_id and a.tenant = x.tenant and a.key = x.key and a.admitted_at is not null
            limit %(most)s
        ) as counted
    ) as key_admitted,
    (
        select count(*)::integer from (
            select from leaseq.limited as b
            where b.limit_id = x.limit_id and b.tenant = x.tenant and b.key = x.key and b.admitted_at is null and b.due
                and (b.priority > x.priority or (b.priority = x.priority and b.task_id < x.task_id))
            limit %(most)s
        ) as counted
    ) as ahead
from leaseq.limited as x
join leaseq.limits as l on l.id = x.limit_id
join leaseq.guards as g on g.limit_id = l.id
where x.task_id = %(task_id)s::uuid and x.admitted_at is null and x.due
