-- Find the tasks that these idempotency keys stand for, by a handler's connection: find_keys.sql
-- for a worker that knows its secret, without the headers. Zero rows for a key: as there.
select f.*, null::text as headers
from leaseq.handler_find_keys(%(worker_id)s, %(secret)s, %(tenants)s, %(keys)s) as f
