"""The parts of the state machine in tests/chaos/test_machine.py: gates, actors, and a model of what they may do."""
