-- The queues that open workers serve.
select distinct unnest(queues) from leaseq.workers where closed_at is null order by 1
