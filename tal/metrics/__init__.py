"""Metrics: pure functions on arrays, one file per kind."""
