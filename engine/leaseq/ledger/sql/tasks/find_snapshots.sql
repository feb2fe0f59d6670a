-- Read the fields that say whether deliveries are still wanted and where they belong. Zero rows for
-- an id: the ledger does not know it.
select id::text as task_id, queue, state, attempt, worker_id, priority, crash_count, loss_count
from leaseq.tasks
where id = any(%(ids)s::uuid[])
