-- debounce: SCHEDULED -> SCHEDULED, by a handler's connection: debounce_task.sql for a worker that knows
-- its secret. Zero rows: as there.
select *
from leaseq.handler_debounce_task(
    %(worker_id)s, %(secret)s, %(tenant)s, %(type)s, %(key)s, %(payload)s, %(headers)s, %(delay)s, %(longest)s
)
