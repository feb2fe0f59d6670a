-- Bring the session of a handler's connection back to its defined state; the first part of one
-- message, session.sql is the rest. These are the parts of DISCARD ALL, which cannot share a
-- message, without DISCARD PLANS: a cached plan changes no answer. An attempt leaves behind
-- besides: cursors, the role, every setting, prepared statements, LISTEN, advisory locks,
-- temporary tables, the last values of sequences, the seed of random().
close all;
set session authorization default;
reset all;
deallocate all;
unlisten *;
select pg_catalog.pg_advisory_unlock_all();
discard temp;
discard sequences;
select pg_catalog.setseed(
    ('x' || pg_catalog.substr(pg_catalog.gen_random_uuid()::text, 1, 8))::bit(32)::integer / 2147483648.0
)
