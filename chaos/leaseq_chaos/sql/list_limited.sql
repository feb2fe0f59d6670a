-- Every row of a task that waits for a permit or has one.
select task_id::text, admitted_at is not null as admitted from leaseq.limited order by task_id
