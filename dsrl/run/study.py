"""Reads the study of a search that is typed again, and ends the trials that a killed search has left."""

from __future__ import annotations


def num_trials(storage: str, name: str, *, end_running: bool) -> int:
    """Return how many trials the study `name` in the database has, 0 where there is none.

    With `end_running`, which needs a lock, trials that a process was running when it was killed become failed ones.
    """
    import optuna

    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:  # a new one
        return 0
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if end_running and trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return len(trials)
