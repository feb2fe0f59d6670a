-- The tasks of schedules, with the name in their payload and the occurrence in their headers.
select id::text as task_id, payload ->> 'schedule' as schedule, headers ->> 'scheduled_at' as at
from leaseq.tasks
where type = 'fired' and headers ->> 'scheduled_at' is not null
order by id
