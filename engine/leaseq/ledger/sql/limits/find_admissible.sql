-- Find the limits in whose lines a task waits, by name. A full limit is among them: whether it has room
-- is judged by admit_tasks.sql. One entry of the index is read for each limit: as `exists`, Postgres
-- would read all tasks that wait. A row without a name says that an admission was not pushed within `age`
-- seconds. Zero rows: no task waits for a permit or for such a push.
select l.name
from leaseq.limits as l
cross join lateral (
    select from leaseq.limited as x
    where x.limit_id = l.id and x.admitted_at is null and x.due
    order by x.tenant, x.key
    limit 1
) as first
union all
select null
where (select h.at from leaseq.handoffs as h order by h.id limit 1) < clock_timestamp() - make_interval(secs => %(age)s)
order by name
