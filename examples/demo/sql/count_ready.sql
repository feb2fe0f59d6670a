-- How many task types can be run, and by how many workers?
select
    (select count(*) from leaseq.task_types) as types,
    (select count(distinct pid) from leaseq.workers where closed_at is null) as workers
