-- Find the names among these that belong to workers, open or closed. A name that does not come back
-- belongs to none: it was pruned, or made up.
select id from leaseq.workers where id = any(%(worker_ids)s)
