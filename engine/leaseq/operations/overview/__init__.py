"""The state of the cluster at one moment, and the parts of it that need a person."""
