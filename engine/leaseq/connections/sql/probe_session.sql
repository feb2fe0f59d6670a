-- probe: the session of Postgres that serves this connection now. Behind a pooler it differs from
-- the one in the start packet.
select pg_backend_pid()
