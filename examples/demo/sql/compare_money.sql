-- Two tables that only a whole transaction keeps equal: the charges, and the losses of the
-- accounts. One row.
select
    (select coalesce(sum(cents), 0) from charges)::bigint as charged,
    (select coalesce(sum(-balance_cents), 0) from accounts)::bigint as taken
