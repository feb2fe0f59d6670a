-- The money in all accounts together.
select coalesce(sum(cents), 0)::int8 from chaos.accounts
