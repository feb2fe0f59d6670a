-- End the Postgres sessions of a closed incarnation: a frozen worker would otherwise keep the row locks of its open
-- transaction and hold up the attempt that replaces it (PostgreSQL manual, 9.28.2, pg_terminate_backend). Zero rows: none.
-- Found first, ended then: the order in which conditions are evaluated is the planner's own affair.
with found as materialized (
    select pid from pg_stat_activity
    where application_name = %(application_name)s and datname = current_database() and pid <> pg_backend_pid()
)
select pid from found where pg_terminate_backend(pid)
