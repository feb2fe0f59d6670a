-- submit: none -> SCHEDULED, by a handler's connection: submit_tasks.sql with the rights of the schema's owner, for a worker that knows
-- its secret. Zero rows for a submission: as there. No casts here: a handler may have made a type of the same name.
select * from leaseq.handler_submit(
    %(worker_id)s, %(secret)s, %(retention)s, %(ids)s, %(tenants)s, %(queues)s, %(types)s, %(payloads)s, %(headers)s, %(keys)s,
    %(fingerprints)s, %(priorities)s, %(max_attempts)s, %(timeouts)s, %(delays)s, %(run_ats)s, %(expires_ats)s
)
