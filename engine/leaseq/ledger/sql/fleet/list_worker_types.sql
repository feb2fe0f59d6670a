-- List the task types that a worker runs, by name, each with the version that it has registered, at
-- most %(limit)s. Zero rows: the worker is unknown, or has registered none in a way that is known here.
select type, version from leaseq.worker_types where worker_id = %(worker_id)s order by type limit %(limit)s
