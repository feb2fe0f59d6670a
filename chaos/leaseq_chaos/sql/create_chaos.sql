-- The tables of the workload's handlers. `effects` has no unique constraint: what happened twice is
-- there twice.
create schema if not exists chaos;

create table if not exists chaos.effects (
    task_id uuid not null,
    attempt int not null,
    type text not null,
    pid int not null
);

create table if not exists chaos.late (
    task_id uuid not null,
    attempt int not null
);

create table if not exists chaos.accounts (
    id int primary key,
    cents bigint not null
);

-- The marks of payloads (payloads.py) that a table of the ledger holds in any column, also a table
-- that is added later.
create or replace function chaos.find_marks() returns table (table_name text, mark text) language plpgsql as $$
declare
    found record;
begin
    for found in select relname from pg_class where relnamespace = 'leaseq'::regnamespace and relkind in ('r', 'p') loop
        return query execute format(
            'select distinct %L::text, m[1] from leaseq.%I as r, regexp_matches(r::text, ''mark-[0-9]+-'', ''g'') as m',
            found.relname, found.relname
        );
    end loop;
end $$;
