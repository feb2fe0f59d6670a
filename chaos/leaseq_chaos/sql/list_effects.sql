-- Every effect that was committed with a task.
select task_id::text as task_id, attempt, type from chaos.effects order by task_id, attempt
