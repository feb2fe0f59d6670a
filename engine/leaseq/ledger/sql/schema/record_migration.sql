-- Record that a migration was applied, in the same transaction.
insert into leaseq.migrations (version, name, checksum) values (%(version)s, %(name)s, %(checksum)s)
