-- submit: none -> SCHEDULED, of tasks with limits, by a handler's connection: submit_bound.sql with the
-- rights of the schema's owner, for a worker that knows its secret. These parameters are added to those
-- of handler_submit_labelled.sql (statements.py).
    %(bound_tasks)s, %(limit_names)s, %(concurrency_keys)s
