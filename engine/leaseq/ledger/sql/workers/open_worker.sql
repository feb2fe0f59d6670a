-- Record a new worker, before its first pull. Zero rows: never.
insert into leaseq.workers (id, host, pid, queues, version, app_version, traits)
values (%(worker_id)s, %(host)s, %(pid)s, %(queues)s, %(version)s, %(app_version)s, %(traits)s)
returning id
