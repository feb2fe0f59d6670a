-- Create the table of the applied migrations. The schema is created only where it is missing,
-- because even `if not exists` asks for the right to create schemas, which its owner may not have.
do $$
begin
    if to_regnamespace('leaseq') is null then
        create schema leaseq;
    end if;
    create table if not exists leaseq.migrations (
        version integer primary key,
        name text not null,
        checksum text not null,
        applied_at timestamptz not null default now()
    );
end
$$
