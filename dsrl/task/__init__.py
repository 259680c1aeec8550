"""Batches of worlds, one module per task."""
