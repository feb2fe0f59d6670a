-- The task that an idempotency key of a tenant stands for, expired or not. Zero rows: there is no
-- such key.
select task_id::text from leaseq.idempotency_keys where tenant = %(tenant)s and key = %(key)s
