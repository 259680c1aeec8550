"""Reads from a run folder whether its task gave every world an instruction: no task can say it before it simulates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsrl.run.saved.files import LARGEST_SUMMARY, LARGEST_WORLDS, read_json
from dsrl.run.saved.folder import RunFolder


def gave_sentences(folder: RunFolder) -> bool:
    """Return whether the run's evaluations had an instruction in every world; False where none was stored."""
    found = list(_instructions(folder))
    return bool(found) and all(isinstance(text, str) and text for text in found)


def _instructions(folder: RunFolder) -> Iterator[Any]:
    """Yield those of the base policy's worlds, and of the summary: a run that was continued elsewhere has one alone."""
    results = read_json(folder.base, LARGEST_WORLDS).get("results")
    for result in results.values() if isinstance(results, dict) else ():
        told = result.get("instructions") if isinstance(result, dict) else None
        yield from told if isinstance(told, list) else ()
    by_instruction = read_json(folder.summary, LARGEST_SUMMARY).get("by_instruction")
    for texts in by_instruction.values() if isinstance(by_instruction, dict) else ():
        yield from texts if isinstance(texts, dict) else ()
