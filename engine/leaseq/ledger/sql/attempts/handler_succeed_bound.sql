-- settle: PROCESSING -> SUCCESS, of a task with traits, by a handler's connection: handler_succeed.sql,
-- and the task gives its permit back. Zero rows: fenced. No casts here: a handler may have made a type
-- of the same name.
select * from leaseq.handler_succeed_bound(
    %(worker_id)s, %(secret)s, %(task_id)s, %(attempt)s, %(result)s
)
