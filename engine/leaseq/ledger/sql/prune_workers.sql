-- Delete incarnations that were closed long ago, and their heartbeats. Zero rows: none.
with gone as (
    delete from leaseq.workers
    where closed_at < now() - make_interval(secs => %(retention)s)
    returning id
), silent as (
    delete from leaseq.heartbeats as h using gone where h.worker_id = gone.id
)
select id from gone
