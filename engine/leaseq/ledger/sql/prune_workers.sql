-- Delete incarnations that were closed long ago. Zero rows: none.
delete from leaseq.workers
where closed_at < now() - make_interval(secs => %(retention)s)
returning id
