-- submit: none -> SCHEDULED, of one task with a unique key, by a handler's connection: submit_unique.sql
-- with the rights of the schema's owner, for a worker that knows its secret. These parameters are added to
-- those of handler_submit_bound.sql (statements.py).
    %(unique_keys)s, %(unique_holds)s, %(holders)s, %(versions)s, %(periods)s, %(replaces)s
