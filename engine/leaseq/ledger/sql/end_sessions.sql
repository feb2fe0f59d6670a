-- End the Postgres sessions of a closed incarnation: a frozen worker would otherwise keep the row locks of its open
-- transaction and hold up the attempt that replaces it (PostgreSQL manual, 9.28.2, pg_terminate_backend). Zero rows: none.
-- Found first, ended then: the order in which conditions are evaluated is the planner's own affair. leaseq.end_session has the rights
-- of the schema's owner, and says null of a session that even the owner may not end.
-- A session is known by its registration (register_session.sql), and by its name where a worker of an older version opened it: a handler
-- can change the name.
with found as materialized (
    select a.pid from pg_stat_activity as a
    where a.datname = current_database() and a.pid <> pg_backend_pid()
        and (
            a.application_name = %(application_name)s
            or exists (
                select from leaseq.sessions as o
                where o.worker_id = %(worker_id)s and o.pid = a.pid and o.backend_start = a.backend_start
            )
        )
)
select pid, leaseq.end_session(pid) as ended from found
