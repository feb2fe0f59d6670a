"""Answers that are held or go on: waits, and streams of events."""
