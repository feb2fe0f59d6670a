-- The identity of this ledger. Changes nothing; zero rows: it was deleted.
select id::text from leaseq.ledger
