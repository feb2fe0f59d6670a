-- Record that a service is alive, by the clock of this server. The first time the row is inserted,
-- and also after it was pruned or lost in a failover. Returns no rows.
insert into leaseq.services as s (id, role, host, pid, version, beat_seconds, detail, traits)
values (%(id)s, %(role)s, %(host)s, %(pid)s, %(version)s, %(beat_seconds)s, %(detail)s, %(traits)s)
on conflict (id) do update
set last_seen = clock_timestamp(), detail = excluded.detail
