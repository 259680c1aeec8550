"""Reads the study of a search that is typed again: its values must not change, and a kill may have left trials in it.

fixed values of all trials -> an attribute of the study, until a trial has finished -> compared with every later launch
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsrl.foreign_json import first_line
from dsrl.run.config.named_files import FILES_SHA256
from dsrl.run.config.study_file import check_file
from dsrl.run.saved.digests import same
from dsrl.run.terminal.ranges import shown

FIXED = "fixed_values"
"""The attribute with what all trials of a study share; studies of earlier versions lack it."""


def num_trials(storage: str, name: str, *, end_running: bool) -> int:
    """Return how many trials the study `name` in the database has.

    With `end_running`, which needs a lock, trials that a process was running when it was killed become failed ones.
    Raises ValueError where the database is none that Optuna can read.
    """
    import optuna

    with _readable(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            if end_running and trial.state == optuna.trial.TrialState.RUNNING:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return len(trials)


def check_fixed(storage: str, name: str, directions: Sequence[str], fixed: Mapping[str, Any], works: str) -> None:
    """Raise ValueError where trials of the study have finished with other `fixed` values; creates a new study.

    Keys of one launch alone are searched in the other, or of another version. `works` is what to type for a new study.
    """
    import optuna

    with _readable(storage):
        study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
        trials = study.get_trials(deepcopy=False)
        if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials):
            study.set_user_attr(FIXED, dict(fixed))
        before = study.user_attrs.get(FIXED, {})
    for key in [key for key in fixed if key in before]:
        if not same(fixed[key], before[key]):
            mend = "restore these files" if key.endswith(FILES_SHA256) else "type the same values again"
            raise ValueError(
                f"{key}={shown(fixed[key])} but the trials of the study {name} had {key}={shown(before[key])}, and "
                f"their scores do not compare; {mend}, or begin another study by {works}"
            )


@contextmanager
def _readable(storage: str) -> Iterator[None]:
    """Raise ValueError where the database is none that Optuna can read, or a file with more than Optuna's tables."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError  # type: ignore[import-untyped]

    try:
        if storage.startswith("sqlite:///") and (file := Path(storage.removeprefix("sqlite:///"))).is_file():
            check_file(file)
        yield
    except (OptunaError, SQLAlchemyError, sqlite3.Error) as error:
        place = storage.rpartition("@")[2]  # without a password
        raise ValueError(
            f"{place} is no database that Optuna can read ({first_line(error)}); restore it, or name another folder by "
            "hydra.sweep.dir"
        ) from error
