-- The tasks that have labels.
select distinct task_id::text from leaseq.labels order by 1
