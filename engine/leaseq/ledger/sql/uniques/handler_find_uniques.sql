-- Find the tasks that have these unique keys, by a handler's connection: find_uniques.sql for a worker
-- that knows its secret, without the headers. Zero rows for a key: as there.
select f.*, null::text as headers
from leaseq.handler_find_uniques(%(worker_id)s, %(secret)s, %(tenants)s, %(types)s, %(holds)s, %(keys)s) as f
