-- A migration was applied, in this same transaction.
insert into leaseq.migrations (version, name, checksum) values (%(version)s, %(name)s, %(checksum)s)
