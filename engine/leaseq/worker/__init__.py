"""Run the handlers of an app in a worker process that a supervisor keeps alive."""
