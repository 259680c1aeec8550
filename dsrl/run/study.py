"""Reads the study of a search that is typed again, and ends the trials that a killed search has left."""

from __future__ import annotations

from dsrl.foreign_json import first_line


def num_trials(storage: str, name: str, *, end_running: bool) -> int:
    """Return how many trials the study `name` in the database has, 0 where there is none.

    With `end_running`, which needs a lock, trials that a process was running when it was killed become failed ones.
    Raises ValueError where the database is none that Optuna can read.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError  # type: ignore[import-untyped]

    try:
        return _num_trials(storage, name, end_running=end_running)
    except KeyError:  # a new one
        return 0
    except (OptunaError, SQLAlchemyError) as error:
        place = storage.rpartition("@")[2]  # without a password
        raise ValueError(
            f"{place} is no database that Optuna can read ({first_line(error)}); restore it, or name another folder by "
            "hydra.sweep.dir"
        ) from error


def _num_trials(storage: str, name: str, *, end_running: bool) -> int:
    import optuna

    study = optuna.load_study(study_name=name, storage=storage)
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if end_running and trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return len(trials)
