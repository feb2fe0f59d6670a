-- In which queues, at which priorities, is anything due by the clock of this server? Zero rows: nowhere.
-- Jumps along the index from one queue and priority to the next, however many tasks wait in each.
with recursive place as (
    (select queue, priority from leaseq.scheduled order by queue, priority limit 1)
    union all
    select further.queue, further.priority
    from place
    cross join lateral (
        select s.queue, s.priority from leaseq.scheduled as s
        where (s.queue, s.priority) > (place.queue, place.priority)
        order by s.queue, s.priority
        limit 1
    ) as further
)
select place.queue, place.priority
from place
cross join lateral (
    select from leaseq.scheduled as s
    where s.queue = place.queue and s.priority = place.priority and s.run_at <= now()
    limit 1
) as due
