"""Compares a run's summary.json with the best checkpoint beside it: are its results those of these weights?

A continuation that was stopped may have replaced the checkpoint, while the summary is still that of the run before.
Loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrl.run.saved.checkpoint_names import MANIFEST
from dsrl.run.saved.files import LARGEST_SUMMARY, read_json

DIGESTS = "checkpoint_sha256"
"""The entry of summary.json with file -> digest of the best checkpoint; summaries of earlier versions lack it."""


def outdated(run: Path, summary: Mapping[str, Any]) -> str | None:
    """Return a sentence where the run's best checkpoint has other weights than its `summary` is about, else None.

    A checkpoint that was removed leaves the results valid; one that is damaged is reported where it is loaded.
    """
    manifest = read_json(run / "checkpoints" / "best" / MANIFEST, LARGEST_SUMMARY)
    noted, found = summary.get(DIGESTS), manifest.get("files")
    if noted is None or found is None or noted == found:
        return None
    return (
        f"{run / 'summary.json'} is of an earlier best checkpoint, which a continuation of this run has replaced: "
        "the run counts as unfinished"
    )


def returned_by(run: Path) -> Any:
    """Return the name of the policy that a run returned; None for an unfinished one or a damaged summary."""
    summary = read_json(run / "summary.json", LARGEST_SUMMARY)
    return None if outdated(run, summary) else summary.get("returned")
