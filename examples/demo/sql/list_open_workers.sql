-- The open workers under one supervisor, and how many tasks each one runs. Every demo has its
-- own ledger, on one host.
select workers.id, count(tasks.id) as running
from leaseq.workers
left join leaseq.tasks on tasks.worker_id = workers.id and tasks.state = 'PROCESSING'
where workers.pid = %(pid)s and workers.closed_at is null
group by workers.id
