-- The queues that are paused, of however many there are. Zero rows: none.
select name from leaseq.queues where paused order by name
