-- reload settings: what ALTER SYSTEM has changed takes effect for every session.
select pg_reload_conf()
