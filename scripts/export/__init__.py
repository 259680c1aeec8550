"""Writes a steered policy in lerobot's format; see __main__."""
