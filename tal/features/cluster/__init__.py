"""Extraction on many machines, with Ray."""

from tal.features.cluster.engine import extract_on_cluster

__all__ = ["extract_on_cluster"]
