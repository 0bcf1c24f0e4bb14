"""Benchmark cards: sources, counts, grids of the published features."""
