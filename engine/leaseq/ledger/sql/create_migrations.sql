-- The schema's own ledger: which migrations it has seen.
create schema if not exists leaseq;
create table if not exists leaseq.migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
)
