-- The identity of this ledger. Changes nothing; zero rows: somebody has deleted it.
select id::text from leaseq.ledger
