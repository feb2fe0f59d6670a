-- List services, for each role the open ones first, then by the time of their last beat, at most
-- `limit` of a role. `silent_seconds` is the time since that beat, by the clock of this server. A
-- service that has stopped is among them until it is pruned. Zero rows: none has announced itself.
select
    id as service_id, role, host, pid, version, beat_seconds, detail::text, started_at, last_seen, ended_at,
    extract(epoch from clock_timestamp() - last_seen)::double precision as silent_seconds
from (
    select s.*, row_number() over (partition by s.role order by s.ended_at is not null, s.last_seen desc) as place
    from leaseq.services as s
) as ranked
where place <= %(limit)s
order by role, place
