-- Count the tasks that have not ended.
select count(*) from leaseq.tasks where finished_at is null
