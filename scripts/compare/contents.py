"""Tells runs apart whose configs are equal but name files that changed between them: a policy, recorded data.

policy.path=pol/base, 0b1f… in June   ->  sac=dsrl_sac policy_sha256=0b1f…      one row
policy.path=pol/base, 9c44… in July   ->  sac=dsrl_sac policy_sha256=9c44…      another
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dsrl.run.config.settings import OFFLINE_SHA256
from dsrl.run.saved.digests import BACKBONE_SHA256, CONFIGURATION_SHA256
from scripts.compare.labels import Word
from scripts.compare.runs import Run

NAMED_BY = {  # digest in summary.json -> the key that names its files
    **dict.fromkeys(("policy_sha256", CONFIGURATION_SHA256, BACKBONE_SHA256), "policy.path"),
    OFFLINE_SHA256: "offline_data",
}
SHOWN = 12  # characters of a digest

_Words = tuple[Word, ...]


def by_contents(words: Mapping[Any, _Words], runs: Sequence[Run], tasks: Mapping[Any, str]) -> dict[Any, _Words]:
    """Return path -> words, with a digest's where it varies among runs of one task and equal words.

    Tasks have policies of their own, and so have seeds with policy.path=pol/${seed}. Unfinished runs and those of
    earlier versions lack digests, and get no word.
    """
    noted = {run.path: list(_digests(run)) for run in runs}
    found: dict[Any, set[str]] = {}
    for path, digests in noted.items():
        for key, seed, digest in digests:
            found.setdefault((words[path], tasks[path], key, seed), set()).add(digest)
    result = {}
    for path, own in words.items():
        several = [(key, one) for key, seed, one in noted[path] if len(found[own, tasks[path], key, seed]) > 1]
        result[path] = own + tuple(Word(key, digest, digest[:SHOWN]) for key, digest in several)
    return result


def _digests(run: Run) -> Iterator[tuple[str, str, str]]:
    """Yield (key, seed, digest) of a finished run; the seed where the files are named after it, else ""."""
    requested: Any = run.summary.get("requested")
    noted = requested if isinstance(requested, dict) else {}
    for key, named_by in NAMED_BY.items():
        if isinstance(noted.get(key), str):
            of_seed = "${seed}" in str(run.config.get(named_by))
            yield key, repr(run.seed) if of_seed else "", noted[key]
