-- Find processes that are alive and do not know all of these traits: workers that are open, and reapers and APIs
-- that were seen within `patience` seconds. Zero rows: every process knows them.
select 'worker' as role, id, host from leaseq.workers
where closed_at is null and coalesce(traits, 0) & %(traits)s::integer <> %(traits)s::integer
union all
select role, id, host from leaseq.services
where ended_at is null and role in ('reaper', 'api') and last_seen > clock_timestamp() - make_interval(secs => %(patience)s)
    and coalesce(traits, 0) & %(traits)s::integer <> %(traits)s::integer
limit 5
