-- List schedules that code has declared while no open worker runs their task type: among the first `limit`
-- ones by tenant and name, and only where any worker is open. Zero rows: there is none.
select s.tenant, s.name, s.type, s.source
from (
    select tenant, name, type, source from leaseq.schedules order by tenant, name limit %(limit)s
) as s
where s.source like 'code:%%'
    and exists (select from leaseq.workers as w where w.closed_at is null)
    and not exists (
        select from leaseq.worker_types as u
        join leaseq.workers as w on w.id = u.worker_id
        where u.type = s.type and w.closed_at is null
    )
order by s.tenant, s.name
