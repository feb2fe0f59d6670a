-- The next queues that are paused, by name. Fewer than the limit: there are no more.
select name from leaseq.queues
where paused and name > %(after)s
order by name
limit %(limit)s
