-- Close a worker. From here on it claims nothing (claim_tasks.sql locks the same row). With
-- `stale_after` the closing is itself a compare-and-set: a worker that was seen in the meantime
-- stays open. The time at which it was seen is read after its row is locked, because a heartbeat
-- may hold that lock. Without `stale_after` (null) the caller knows of the death first-hand. Zero
-- rows: it is closed already, unknown, or alive after all.
with me as materialized (
    select id from leaseq.workers
    where id = %(worker_id)s and closed_at is null
    for no key update
), seen as materialized (
    select id, leaseq.last_seen(id) as at from me
)
update leaseq.workers as w set closed_at = now(), close_reason = %(reason)s, last_seen = seen.at
from seen
where w.id = seen.id
    and (%(stale_after)s::float8 is null or seen.at < now() - make_interval(secs => %(stale_after)s::float8))
returning w.id
