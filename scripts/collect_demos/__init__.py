"""Scripted demonstrations of mixed quality for the Genesis tasks: sloppy_operator.py moves, recording.py writes."""
