-- These incarnations are alive; say so by the clock of this server. One that does not come back was closed: it must stop.
update leaseq.workers set last_seen = now()
where id = any(%(worker_ids)s) and closed_at is null
returning id
