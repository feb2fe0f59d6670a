-- Delete a schedule; its tasks stay. Zero rows: there is no such schedule.
delete from leaseq.schedules where tenant = %(tenant)s and name = %(name)s returning name
