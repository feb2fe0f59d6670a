-- probe: leave a setting, a lock and (being sent as one) a prepared statement in this session.
-- Returns the session.
select
    pg_backend_pid(),
    set_config('leaseq.mark', %(mark)s, false),
    pg_advisory_lock_shared(hashtext('leaseq.mark'), pg_backend_pid())
