-- Delete the bytes of payloads of days before the day before this one.
delete from leaseq.payload_bytes where day < %(day)s::date - 1
