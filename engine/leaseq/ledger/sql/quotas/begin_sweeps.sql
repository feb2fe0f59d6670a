-- Take the sweeps of these tenants that are due: no other process has begun one in the last seconds.
-- A process that dies in its sweep is followed by the next one after so long. Returns the tenants that
-- this process is to sweep. Zero rows: no sweep is due.
insert into leaseq.quota_sweeps as s (tenant, swept_at)
select tenant, clock_timestamp() from unnest(%(tenants)s::text[]) as t (tenant)
order by tenant
on conflict (tenant) do update
set swept_at = excluded.swept_at
where s.swept_at < excluded.swept_at - make_interval(secs => %(seconds)s)
returning s.tenant
