-- Record a new worker, before its first pull. Zero rows: never.
insert into leaseq.workers (id, host, pid, queues, version)
values (%(worker_id)s, %(host)s, %(pid)s, %(queues)s, %(version)s)
returning id
