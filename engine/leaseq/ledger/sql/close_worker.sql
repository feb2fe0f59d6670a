-- Close an incarnation: from here on it claims nothing (claim_tasks.sql locks the same row).
-- With `stale_after` the closing is itself a compare-and-set: a worker that was seen in the meantime stays open.
-- Without it (null) the caller knows of the death first-hand. Zero rows: it is closed already, unknown, or alive after all.
update leaseq.workers set closed_at = now(), close_reason = %(reason)s
where id = %(worker_id)s and closed_at is null
    and (%(stale_after)s::float8 is null or last_seen < now() - make_interval(secs => %(stale_after)s::float8))
returning id
