-- Pause or resume a queue in the ledger, as an API does first. Zero rows: the queue has no
-- submission yet.
update leaseq.queues set paused = %(paused)s where name = %(queue)s returning name
