"""The chaos suite of leaseq: a black box outside, which breaks things and judges the history."""
