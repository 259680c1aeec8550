"""Remarks on values that make a run slow and gain nothing."""

from __future__ import annotations


def many_threads(threads: int | None, cores: int) -> str | None:
    """Return a sentence for more threads of torch than the machine has cores: they wait for each other."""
    if threads is None or threads <= cores:
        return None
    return f"threads={threads} on a machine of {cores} cores makes torch slower; threads={cores} is the most that helps"


def large_batches(batch_size: int, transitions: int) -> str | None:
    """Return a sentence for batches larger than replay, which has room for `transitions`: they repeat transitions."""
    if batch_size <= transitions:
        return None
    return (
        f"batch_size={batch_size} is more than the {transitions} transitions that replay will have in the end: every "
        f"batch repeats them; a batch_size of {transitions} or less takes less time"
    )
