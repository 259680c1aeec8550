"""Interrupts real runs and compares their results: trials.py interrupts, runs.py starts and compares."""
