-- The next registered task types by name, each as the worker that started last has registered it.
-- Fewer than the limit: there are no more.
select t.type, t.queue, t.payload_schema::text, t.max_attempts, t.timeout_seconds, t.updated_at
from leaseq.task_types as t
where t.type > %(after)s::text
order by t.type
limit %(limit)s
