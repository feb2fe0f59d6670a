-- Look at schedules that could not be fired again later. Zero rows for one: it has changed since it
-- was read.
update leaseq.schedules as s
set due_at = now() + make_interval(secs => %(seconds)s)
from unnest(%(tenants)s::text[], %(names)s::text[], %(revisions)s::uuid[]) as d (tenant, name, revision)
where s.tenant = d.tenant and s.name = d.name and s.revision = d.revision and s.due_at is not null
