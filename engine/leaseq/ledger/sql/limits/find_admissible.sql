-- Find the limits in whose lines a task waits, by name. A full limit is among them: whether it has room
-- is judged by admit_tasks.sql. Zero rows: no task waits for a permit.
select l.name
from leaseq.limits as l
where exists (
    select from leaseq.limited as x where x.limit_id = l.id and x.admitted_at is null and x.due
)
order by l.name
