-- How many tasks have not ended?
select count(*) from leaseq.tasks where finished_at is null
