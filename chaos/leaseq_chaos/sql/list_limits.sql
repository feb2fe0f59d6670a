-- Every limit, as it is at the end of a run.
select id::text, name, concurrency, key_concurrency from leaseq.limits order by id
