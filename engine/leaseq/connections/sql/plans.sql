-- plans: what holds for statements of ours, and not for those of a handler. Parameter: whether for
-- this transaction only. Every one of ours names its rows by an index and finds them one by one, in
-- its order. Postgres keeps a plan until the table is analyzed, and one that was made while the
-- table was all but empty goes through the whole of it for every row a minute later
-- (docs/performance.md).
select
    pg_catalog.set_config('enable_seqscan', 'off', %(local)s),
    pg_catalog.set_config('enable_bitmapscan', 'off', %(local)s),
    pg_catalog.set_config('enable_hashjoin', 'off', %(local)s),
    pg_catalog.set_config('enable_mergejoin', 'off', %(local)s)
