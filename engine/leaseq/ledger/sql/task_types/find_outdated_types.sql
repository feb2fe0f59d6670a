-- The types of which an open worker has a newer version than these. Zero rows: these are the newest
-- in use.
select sent.type
from unnest(%(types)s::text[], %(versions)s::text[]) as sent (type, version)
join leaseq.type_versions as mine on mine.type = sent.type and mine.version = sent.version
where exists (
    select from leaseq.type_versions as v
    join leaseq.worker_types as u on u.type = v.type and u.version = v.version
    join leaseq.workers as w on w.id = u.worker_id
    where v.type = sent.type and v.first_seen_at > mine.first_seen_at and w.closed_at is null
)
