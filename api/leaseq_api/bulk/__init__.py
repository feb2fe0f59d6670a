"""The routes of operations on many tasks, and their bodies and answers."""
