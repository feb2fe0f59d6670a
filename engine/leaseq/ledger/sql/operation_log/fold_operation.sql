-- Remove the row of an operation that was refused, and count it in the row of an earlier one. The
-- statement may be sent twice: an operation is counted once, because the second time removes zero
-- rows. Returns no rows.
with removed as (
    delete from leaseq.operations where id = %(id)s and outcome = 'unconfirmed' returning id
)
update leaseq.operations as counting
set detail = json_build_object(
    'more_refused', coalesce((counting.detail ->> 'more_refused')::integer, 0) + 1
)
where counting.id = %(into)s and exists (select from removed)
