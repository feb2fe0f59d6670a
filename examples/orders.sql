-- The tables of examples/orders.py. Safe to run any number of times, by any number of workers
-- concurrently. `charges` has no unique constraint on purpose: a charge that were made twice would
-- show as two rows.
do $$
begin
    if to_regclass('charges') is null then
        perform pg_advisory_xact_lock(hashtext('examples/orders.sql'));
        create table if not exists accounts (
            customer text primary key,
            balance_cents bigint not null
        );
        create table if not exists charges (
            charge_id bigint generated always as identity primary key,
            order_id bigint not null,
            customer text not null references accounts,
            cents bigint not null check (cents > 0),
            charged_at timestamptz not null default now()
        );
    end if;
end
$$
