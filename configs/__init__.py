"""Recipes, as YAML files found by name."""
