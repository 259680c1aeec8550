"""Experts of benchmarks, whose demonstrations scripts.collect_expert records."""
