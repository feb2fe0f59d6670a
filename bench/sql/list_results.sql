-- What some tasks returned, whole numbers, in the order of the ids; a task that has not succeeded
-- (yet) does not come back.
select (task.result::text)::bigint
from unnest(%(task_ids)s::uuid[]) with ordinality as wanted (id, place)
join leaseq.tasks as task on task.id = wanted.id and task.state = 'SUCCESS'
order by place
