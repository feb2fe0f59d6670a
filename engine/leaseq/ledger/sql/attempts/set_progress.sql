-- Store the progress of a running attempt, under its fence. Zero rows: the attempt was taken away.
-- The statement waits briefly for a locked row and then fails with 55P03: the worker has few
-- connections, and progress may come later.
with patience as materialized (
    select set_config('lock_timeout', '250', true)
)
update leaseq.tasks as t set progress = %(progress)s::json
from patience
where t.id = %(task_id)s and t.state = 'PROCESSING' and t.attempt = %(attempt)s and t.worker_id = %(worker_id)s
returning t.id::text
