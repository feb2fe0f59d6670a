-- Every schedule was due a moment ago, as at the begin of a minute.
update leaseq.schedules set next_at = now(), due_at = now()
