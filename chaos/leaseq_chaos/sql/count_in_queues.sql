-- Count the tasks that have not ended, in the queues whose names begin with a prefix (text).
select count(*) from leaseq.tasks where starts_with(queue, %(prefix)s) and finished_at is null
