"""The state machine of tests/chaos/test_machine.py."""
