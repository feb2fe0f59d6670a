-- Where the log of this server left that of its predecessor: its timeline, and the position in
-- bytes since 0/0.
with own as (select left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) as timeline)
select ('x' || timeline)::bit(32)::int4, (max(said[1]::pg_lsn) - '0/0')::int8
from own, regexp_matches(pg_read_file('pg_wal/' || timeline || '.history'), '^\d+\t([0-9A-F]+/[0-9A-F]+)\t', 'gn') as said
group by timeline
