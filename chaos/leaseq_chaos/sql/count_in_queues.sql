-- How many tasks of the queues whose names begin so (prefix: text) have not ended?
select count(*) from leaseq.tasks where starts_with(queue, %(prefix)s) and finished_at is null
