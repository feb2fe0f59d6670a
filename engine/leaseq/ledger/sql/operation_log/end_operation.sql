-- Record the outcome of an operation. An outcome is written once. Returns no rows.
update leaseq.operations
set outcome = %(outcome)s, code = %(code)s, target = %(target)s, detail = %(detail)s::json,
    ended_at = clock_timestamp()
where id = %(id)s and outcome = 'unconfirmed'
