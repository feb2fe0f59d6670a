-- Read the line in which a task waits for a permit of its limit: how many permits the limit has given
-- and its key, and how many tasks of the key are before it. At most `most` of each are counted. Zero
-- rows: it waits in no line.
select
    l.name as limit, x.key, l.concurrency, l.key_concurrency,
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
where x.task_id = %(task_id)s::uuid and x.admitted_at is null and x.due
