-- Which of these queues are paused.
select name from leaseq.queues where paused and name = any(%(names)s::text[])
