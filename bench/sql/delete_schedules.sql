-- Leave no schedule behind.
delete from leaseq.schedules
