-- Find the limits in whose lines a task waits, by name. A full limit is among them: whether it has room
-- is judged by admit_tasks.sql. One entry of the index is read for each limit: as `exists`, Postgres
-- would read all tasks that wait. Zero rows: no task waits for a permit.
select l.name
from leaseq.limits as l
cross join lateral (
    select from leaseq.limited as x
    where x.limit_id = l.id and x.admitted_at is null and x.due
    order by x.tenant, x.key
    limit 1
) as first
order by l.name
