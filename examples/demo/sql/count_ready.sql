-- Count the task types that can be run, and the workers.
select
    (select count(*) from leaseq.task_types) as types,
    (select count(distinct pid) from leaseq.workers where closed_at is null) as workers
