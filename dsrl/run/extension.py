"""Checks that a run can be continued with what was typed now: budgets may grow, and validation worlds must stay.

A finished run is never started over in its folder, nor is one that has trained beyond its first checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dsrl.run.components.parts import Parts
from dsrl.run.config.settings import Settings
from dsrl.run.resume import Checkpointer
from dsrl.run.saved.checkpoint import read_manifest
from dsrl.run.saved.folder import RunFolder
from dsrl.training.replay_memory import buffer_length


def check_extension(parts: Parts, checkpointer: Checkpointer) -> None:
    """Raise ValueError, naming the key, where a budget is smaller than what the checkpoint has taken or stored.

    Also where validations would be in other worlds, or the folder has a run that would be started over.
    """
    settings, worlds, folder = parts.settings, len(parts.env), checkpointer.folder
    key = folder.key
    if checkpointer.is_elsewhere:
        _check_lost(folder)
    if checkpointer.previous is None or checkpointer.taken is None:
        return
    _check_validation_worlds(settings, (checkpointer.previous_run or {}).get("curve", ()), key)
    budget = -(-settings.decisions // worlds) * worlds
    if checkpointer.taken > budget:
        raise ValueError(
            f"decisions={settings.decisions} is less than the {checkpointer.taken} that the checkpoint has taken; "
            f"type decisions={checkpointer.taken} or more, or start a new run in another {key}"
        )
    replay = checkpointer.previous.get("buffer")
    stored = 0 if replay is None else worlds * int(replay["part_size"])
    if stored > worlds * -(-buffer_length(settings.buffer_size, settings.decisions, worlds) // worlds):
        name = "buffer_size" if settings.buffer_size < budget else "decisions"
        raise ValueError(
            f"{name}={getattr(settings, name)} makes replay smaller than the checkpoint's {stored} transitions; "
            f"type {name}={stored} or more, or start a new run in another {key}"
        )


def _check_validation_worlds(settings: Settings, curve: Sequence[Any], folder_key: str) -> None:
    """Raise ValueError where validations of a `curve` played other worlds than `settings` names.

    Scores of other worlds choose no best policy, and show no collapse; and final evaluations keep clear of the worlds
    that `settings` names alone.
    """
    now = {"validation_seed": settings.validation_seed, "validation_episodes": settings.validation_episodes}
    for _, _, evaluation, *_ in curve:  # of numbers there are two or three
        seeds = evaluation["seeds"]
        before = {"validation_seed": seeds[0], "validation_episodes": len(seeds)}
        differing = [key for key in now if now[key] != before[key]]
        if differing:
            found, works = (" ".join(f"{key}={one[key]}" for key in differing) for one in (now, before))
            raise ValueError(
                f"{found} but this run's best policy was chosen with {works}, and scores in other worlds do not "
                f"compare; type {works}, or start a new run in another {folder_key}"
            )


def _check_lost(folder: RunFolder) -> None:
    """Raise ValueError where a run has finished in a folder without checkpoints, or has trained there.

    Weights of before a run's first checkpoint have learnt nothing yet: such a run begins again.
    """
    if folder.summary.exists():
        _check_summary(folder)
        raise ValueError(
            f"{folder.path} has a finished run, of other values, and no checkpoint to continue it from "
            f"({folder.resume} has no complete one); name another {folder.key}"
        )
    for name in ("last", "best"):
        if folder.has(name) and read_manifest(folder.checkpoint(name))["notes"].get("resumable", True):
            raise ValueError(
                f"{folder.checkpoint(name)} has weights that a run trained here, and {folder.resume} has no complete "
                f"checkpoint to continue it from; restore one, or name another {folder.key}"
            )


def _check_summary(folder: RunFolder) -> None:
    """Raise ValueError where the summary cannot show whether the run has finished with the values that were typed."""
    sentence = f"{folder.summary} is damaged; restore it, or name another {folder.key}"
    try:
        content = folder.read_summary()
    except ValueError as error:
        raise ValueError(sentence) from error
    if not content:
        raise ValueError(sentence)
