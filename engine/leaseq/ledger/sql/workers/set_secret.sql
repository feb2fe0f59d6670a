-- Set the secret with which an open worker acts on connections of handlers. Zero rows: the worker
-- is closed. It is asked for with each connection, and written only if it is not there.
with me as materialized (
    select id, secret from leaseq.workers
    where id = %(worker_id)s and closed_at is null
    for no key update
), written as (
    update leaseq.workers as w set secret = %(secret)s
    from me
    where w.id = me.id and me.secret is distinct from %(secret)s
)
select id from me
