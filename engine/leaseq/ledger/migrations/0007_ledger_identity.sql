-- Dispatch says which ledger it belongs to, so that two deployments do not work on one prefix in Redis unnoticed. One row, for ever:
-- a copy of this database (a restore, a template) has the same identity.
create table leaseq.ledger (
    id uuid not null default gen_random_uuid(),
    only_one boolean primary key default true check (only_one)
);
insert into leaseq.ledger default values;
