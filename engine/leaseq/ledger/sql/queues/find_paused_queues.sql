-- Find the queues among these that are paused. Zero rows: none.
select name from leaseq.queues where paused and name = any(%(names)s::text[])
