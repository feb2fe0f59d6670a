-- End the Postgres sessions of a closed worker. A frozen worker would otherwise keep the row locks
-- of its open transaction and hold up the attempt that replaces it (PostgreSQL manual, 9.28.2,
-- pg_terminate_backend). Zero rows: none. The sessions are found first and ended then, because the
-- planner decides in which order conditions are evaluated. leaseq.end_session ends sessions that
-- the role of the caller may not end: it has the rights of the schema's owner, and returns null for
-- a session that even the owner may not end. The owner alone would not suffice, because workers
-- that still run as a superuser are out of its reach. The start of a session of another role is
-- hidden from the caller's role, and leaseq.session_start shows it with the rights of the owner. A
-- session is known by its registration (register_session.sql), and by its name where a worker of an
-- older version opened it: a handler can change the name.
with found as materialized (
    select a.pid, coalesce(
        (select s.rolsuper from pg_roles as s where s.rolname = current_user)
        or (pg_has_role(a.usesysid, 'usage') or pg_has_role('pg_signal_backend', 'usage')) and not r.rolsuper,
        false
    ) as allowed
    from pg_stat_activity as a
    left join pg_roles as r on r.oid = a.usesysid
    where a.datname = current_database() and a.pid <> pg_backend_pid()
        and (
            a.application_name = %(application_name)s
            or exists (
                select from leaseq.sessions as o
                where o.worker_id = %(worker_id)s and o.pid = a.pid
                    and o.backend_start = coalesce(a.backend_start, leaseq.session_start(a.pid))
            )
        )
)
select pid, case when allowed then pg_terminate_backend(pid) else leaseq.end_session(pid) end as ended from found
