-- How many tasks have not ended. One row.
select count(*) from leaseq.tasks where finished_at is null
