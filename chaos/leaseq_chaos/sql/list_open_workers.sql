-- The workers that the ledger considers alive.
select id from leaseq.workers where closed_at is null order by id
