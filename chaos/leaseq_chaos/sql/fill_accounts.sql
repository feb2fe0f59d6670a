-- Opens the accounts 1 to N, each with the same money in it. One that is open already keeps what it
-- has.
insert into chaos.accounts (id, cents)
select id, %(cents)s::int8 from generate_series(1, %(accounts)s::int4) as id
on conflict (id) do nothing
