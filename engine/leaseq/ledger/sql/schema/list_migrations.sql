-- The migrations that were applied, in order. Fails where the schema has never been created.
select version, name, checksum from leaseq.migrations order by version
