-- Every known queue and whether it is paused.
select name, paused from leaseq.queues order by name
