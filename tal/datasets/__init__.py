"""Benchmarks, one file each: splits, classes and protocol as data."""
