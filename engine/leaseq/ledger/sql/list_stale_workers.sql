-- Open incarnations that the ledger has not heard of for longer than a lease, with the number of all open ones.
-- Zero rows: all are well.
select id, queues, count from (
    select id, queues, last_seen, count(*) over () as count
    from leaseq.workers where closed_at is null
) as w
where last_seen < now() - make_interval(secs => %(stale_after)s)
