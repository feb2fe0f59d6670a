-- submit: none -> SCHEDULED, of tasks with labels, by a handler's connection: submit_labelled.sql
-- with the rights of the schema's owner, for a worker that knows its secret. These parameters are
-- added to those of handler_submit_tasks.sql (statements.py).
    %(label_tasks)s, %(label_names)s, %(label_values)s
