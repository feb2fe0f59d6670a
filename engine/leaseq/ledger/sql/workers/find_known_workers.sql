-- Which of these names belong to workers, open or closed? One that does not come back is of
-- none: it was pruned, or made up.
select id from leaseq.workers where id = any(%(worker_ids)s)
