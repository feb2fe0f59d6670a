-- The unfinished tasks that are listed, by tenant and queue. Those of tenants without a quota are left
-- over from a quota that was removed.
select tenant, queue, count(*) as tasks from leaseq.unfinished_tasks group by tenant, queue
