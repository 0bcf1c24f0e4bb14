"""Blocks that methods share."""
