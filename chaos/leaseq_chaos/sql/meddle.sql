-- What a handler may say of its session, all of it for longer than its transaction, with a mark in
-- it by which it is known.
select
    set_config('search_path', 'meddled, public', false),
    set_config('statement_timeout', '777s', false),
    set_config('synchronous_commit', 'off', false),
    set_config('default_transaction_isolation', 'serializable', false),
    set_config('application_name', 'meddled', false),
    set_config('chaos.mark', %(task_id)s, false),
    pg_advisory_lock(hashtext(%(task_id)s))
