-- Find the workers among these that are open. One that does not come back is closed or unknown: it
-- may claim nothing any more.
select id from leaseq.workers where id = any(%(worker_ids)s) and closed_at is null
