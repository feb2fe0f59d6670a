-- What autovacuum has done to tables that were not filled a moment ago.
vacuum (analyze) leaseq.tasks, leaseq.scheduled, leaseq.idempotency_keys
