"""Simulate batches of worlds, one module per task."""
