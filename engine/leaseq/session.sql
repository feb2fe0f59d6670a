-- session: what every connection to Postgres promises before it is used. Parameters: text, milliseconds for times.
-- synchronous_commit: an acknowledged task survives a crash (G1), whatever the server's or the role's default is.
-- statement_timeout, lock_timeout: nobody waits for ever behind a frozen session (P25).
-- tcp_keepalives_*: the server gives up on a lost host, and with it the host's row locks, within about 11 s.
select
    set_config('synchronous_commit', 'on', false),
    set_config('timezone', 'UTC', false),
    set_config('statement_timeout', %(statement_timeout)s, false),
    set_config('lock_timeout', %(lock_timeout)s, false),
    set_config('tcp_keepalives_idle', '5', false),
    set_config('tcp_keepalives_interval', '2', false),
    set_config('tcp_keepalives_count', '3', false)
