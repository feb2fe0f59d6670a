"""Dispatch (Redis or Valkey): who should look next, and whom to suspect. Rebuildable, never believed."""
