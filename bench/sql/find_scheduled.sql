-- Read whether a task is still to be promoted. One row.
select exists (select from leaseq.scheduled)
