"""The payloads that a task type accepts, and the checks of them at submission."""
