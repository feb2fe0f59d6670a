-- probe: whether this session still has anything of the client before us. True: its pooler does not
-- clean up.
select
    coalesce(current_setting('leaseq.mark', true), '') <> ''
    or exists (select from pg_prepared_statements)
    or exists (
        select from pg_locks
        where locktype = 'advisory' and pid = pg_backend_pid() and classid = hashtext('leaseq.mark')::oid
    )
