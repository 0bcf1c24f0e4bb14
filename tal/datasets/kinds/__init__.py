"""Kinds of tasks: what the protocol of each declares."""
