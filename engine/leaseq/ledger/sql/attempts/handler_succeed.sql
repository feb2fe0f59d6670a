-- settle: PROCESSING -> SUCCESS, by a handler's connection, whose role has no right on tables. The
-- function (migrations/0010_roles.sql) has the fence of settle_attempts.sql: the state, the attempt
-- and the worker. Zero rows: fenced. No casts here: a handler may have made a type of the same
-- name.
select * from leaseq.handler_succeed(
    %(worker_id)s, %(secret)s, %(task_id)s, %(attempt)s, %(result)s
)
