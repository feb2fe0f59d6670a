-- Every registered task type.
select type, queue, payload_schema::text, max_attempts, timeout_seconds from leaseq.task_types order by type
