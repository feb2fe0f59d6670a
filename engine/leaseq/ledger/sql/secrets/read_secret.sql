-- Read a shared secret, and the time by the clock of Postgres in seconds since 1970. Zero rows:
-- there is no secret of this name.
select secret, extract(epoch from clock_timestamp())::float8 as now
from leaseq.secrets
where name = %(name)s
