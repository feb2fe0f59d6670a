-- settle: PROCESSING -> SUCCESS, by a handler's connection, whose role has no right on tables
-- (migration "roles"). Under the fence of settle_attempts.sql. Zero rows: fenced. No casts here: a
-- handler may have made a type of the same name.
select * from leaseq.handler_succeed(
    %(worker_id)s, %(secret)s, %(task_id)s, %(attempt)s, %(result)s
)
