"""Sorts the runs that eval.py names: which of several are left out, which checkpoint, and where results go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsrl.interfaces import StateDict
from dsrl.run.config.request import Request, leading_out, left_out
from dsrl.run.saved import eval_failure
from dsrl.run.saved.config_files import config_of
from dsrl.run.saved.files import make_writable
from dsrl.run.saved.folder import RunFolder

EVALUATION = "eval.json"
LOGGED = ("metrics.csv", "metrics.jsonl", "tensorboard", "wandb_run_id.txt")  # which loggers begin anew
MOST_NAMED = 10  # paths in a sentence


def with_checkpoint(requests: Sequence[Request]) -> tuple[list[Request], list[str]]:
    """Return the requests whose checkpoint is there, and a sentence about the others, where there are any.

    Where none is there, all are returned: loading them raises the error.
    """
    lacking = [request for request in requests if not _has_checkpoint(request)]
    if not lacking or len(lacking) == len(requests):
        return list(requests), []
    name = resolved(lacking[0]).checkpoint
    paths = [request.run for request in lacking]
    return [one for one in requests if one not in lacking], [_sentence("run", f"no checkpoint={name}", paths)]


def without_config(named: Any) -> list[str]:
    """Return sentences about folders that globs among the names match and that hold no run, or that links lead to."""
    found = {
        "no .hydra/config.yaml": left_out(named),
        "a link that leads out of the typed folder (type its own path to evaluate it)": leading_out(named),
    }
    return [_sentence("folder", reason, paths) for reason, paths in found.items() if paths]


def resolved(request: Request) -> Request:
    """Return the request with the checkpoint that `returned` stands for; of an unfinished run that is the best."""
    if request.checkpoint != "returned":
        return request
    base = RunFolder(Path(request.run)).read_results().get("returned") == "base"
    return replace(request, checkpoint="none" if base else "best")


def loaded(request: Request, folder: RunFolder) -> tuple[Request, StateDict | None]:
    """Return the resolved request and the state of its checkpoint, None for the base policy.

    Raises FileNotFoundError without a checkpoint, ValueError for a damaged one.
    """
    named = resolved(request)
    if named.checkpoint == "none":
        return named, None
    if request.checkpoint == "returned" and not folder.has(named.checkpoint):
        raise FileNotFoundError(
            f"run={folder.path} has no best checkpoint, which a run has from its first validation on; continue it, or "
            "type checkpoint=none to evaluate the base policy"
        )
    return named, folder.load(named.checkpoint)


def destinations(requests: Sequence[Request], *, several: bool) -> list[Path | None]:
    """Return the folders that evaluations are written to, None for a new one in the run's.

    With `several` runs named, `out` gets a folder for each. Raises ValueError where one cannot be written, is the
    folder of a run, has metrics or the results of an earlier evaluation, or two are the same.
    """
    places: list[Path | None] = []
    for request in requests:
        path = Path(request.run)
        if request.out is not None:
            path = Path(request.out) / path.resolve().name if several else Path(request.out)
            _check_no_run(path, request.out)
            make_writable(path, "out")
            if path in places:
                raise ValueError(f"out={request.out} gets a folder per run name and two are equal; name one run")
            if not request.video_seeds and _has_results(path):
                file = (path / EVALUATION).relative_to(request.out)
                raise ValueError(
                    f"out={request.out} has {file} of an earlier evaluation; type another out=…, or leave it out"
                )
            _check_no_logs(path, request.out)
        if not all(_writable(folder) for folder in (path, RunFolder(path).evaluations)):
            raise ValueError(f"{path} cannot be written by you; type out=<a folder of yours> for eval.json and videos")
        places.append(None if request.out is None else path)
    return places


def _check_no_run(path: Path, out: str) -> None:
    """Raise ValueError for the folder of a run, whose metrics loggers of an evaluation would remove."""
    if config_of(path) is not None:
        raise ValueError(f"out={out} would write into the run {path}; type another out=…, or leave it out")


def _check_no_logs(path: Path, out: str) -> None:
    """Raise ValueError where an evaluation, which begins its logs anew, would remove those of something else."""
    found = [name for name in LOGGED if os.path.lexists(path / name)]
    if found and not (path / eval_failure.NAME).exists():
        file = (path / found[0]).relative_to(out)
        raise ValueError(f"out={out} has {file} of something else; type another out=…, or leave it out")


def _has_results(folder: Path) -> bool:
    """Return whether an evaluation has ended here; one that failed, perhaps while it was logged, can be typed again."""
    file = folder / EVALUATION
    return file.is_file() and not file.is_symlink() and not (folder / eval_failure.NAME).exists()


def _writable(folder: Path) -> bool:
    return not folder.exists() or os.access(folder, os.W_OK, effective_ids=True)


def _has_checkpoint(request: Request) -> bool:
    name = resolved(request).checkpoint
    return name == "none" or RunFolder(Path(request.run)).has(name)


def _sentence(kind: str, reason: str, paths: Sequence[str]) -> str:
    listed = ", ".join(paths[:MOST_NAMED]) + (", …" if len(paths) > MOST_NAMED else "")
    some = f"{len(paths)} {kind}s are left out because they have"
    return f"{f'1 {kind} is left out because it has' if len(paths) == 1 else some} {reason}: {listed}"
