-- Every registered task type.
select type, queue, payload_schema::text from leaseq.task_types order by type
