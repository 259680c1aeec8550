"""Frozen policies steered by their initial noise."""
