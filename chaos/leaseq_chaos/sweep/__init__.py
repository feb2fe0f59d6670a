"""The crash-point sweep: every named point of the services, with everything that can happen there."""
