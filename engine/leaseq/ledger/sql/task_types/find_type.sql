-- Read one task type, as the worker that started last has registered it. Zero rows: none has.
select t.type, t.queue, t.payload_schema::text, t.max_attempts, t.timeout_seconds, t.updated_at
from leaseq.task_types as t
where t.type = %(type)s
