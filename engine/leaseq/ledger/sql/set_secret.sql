-- The secret of an open incarnation, with which its worker acts on connections of handlers. Zero rows: the incarnation is closed.
update leaseq.workers set secret = %(secret)s where id = %(worker_id)s and closed_at is null
returning id
