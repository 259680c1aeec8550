"""Algorithms that learn which noise to give a frozen policy."""
