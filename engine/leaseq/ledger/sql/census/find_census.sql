-- Read the last census, with its age in seconds by the clock of this server. Zero rows: none was taken.
select at, pages, of_pages, counts::text as counts, extract(epoch from clock_timestamp() - at)::float8 as age
from leaseq.census
