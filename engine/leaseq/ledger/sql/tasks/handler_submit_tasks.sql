-- submit: none -> SCHEDULED, by a handler's connection: submit_tasks.sql with the rights of the
-- schema's owner, for a worker that knows its secret. Zero rows for a submission: as there. No
-- casts here: a handler may have made a type of the same name.
select * from leaseq.handler_submit(
    %(worker_id)s, %(secret)s, %(retention)s, %(task_id)s, %(tenant)s, %(queue)s, %(type)s, %(payload)s, %(headers)s, %(idempotency_key)s,
    %(fingerprint)s, %(priority)s, %(max_attempts)s, %(timeout_seconds)s, %(delay_seconds)s, %(run_at)s, %(expires_at)s
)
