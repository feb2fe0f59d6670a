-- Whether there is a limit of this name. One row always.
select exists (select from leaseq.limits where name = %(name)s::text) as found
