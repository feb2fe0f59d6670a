-- Free idempotency keys whose retention is over, by a handler's connection: expire_keys.sql for a
-- worker that knows its secret. Zero rows: as there.
select * from leaseq.handler_expire_keys(%(worker_id)s, %(secret)s, %(tenants)s, %(keys)s)
