"""Faults on purpose under `leaseq dev`, and checks of the promises about them."""
