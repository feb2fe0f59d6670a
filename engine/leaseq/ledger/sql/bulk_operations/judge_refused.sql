-- Why a step of a bulk operation did not change these tasks: one row for each.
select
    given.id::text as task_id,
    case
        when t.id is null or t.tenant <> coalesce(%(tenant)s::text, t.tenant) then 'not_found'
        when t.erased_at is not null then 'erased'
        when %(redrives)s and t.key_freed_at is not null then 'key_freed'
        when %(redrives)s and t.finished_at > %(as_of)s then 'after_preview'
        when not %(redrives)s and t.finished_at is null and t.created_at > %(as_of)s then 'after_preview'
        when %(redrives)s and t.unique_hold = 'while_unfinished' and t.state in ('FAILED', 'CANCELLED') then 'unique_key_taken'
        else lower(t.state)
    end as reason
from unnest(%(ids)s::uuid[]) as given (id)
left join leaseq.tasks as t on t.id = given.id
