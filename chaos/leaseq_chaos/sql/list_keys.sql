-- Every idempotency key, and the task that it stands for.
select tenant, key, task_id::text as task_id from leaseq.idempotency_keys order by tenant, key
