"""The crash-point sweep: every failpoint of the services, with every action."""
