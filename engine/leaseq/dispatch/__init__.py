"""Dispatch in Redis or Valkey: a rebuildable hint, never an authority."""
