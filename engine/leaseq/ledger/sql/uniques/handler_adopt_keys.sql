-- Let idempotency keys stand for tasks that exist, by a handler's connection: adopt_keys.sql for a worker
-- that knows its secret. Zero rows for a key: as there.
select *
from leaseq.handler_adopt_keys(%(worker_id)s, %(secret)s, %(retention)s, %(tenants)s, %(keys)s, %(fingerprints)s, %(tasks)s)
