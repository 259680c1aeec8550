"""A search by Optuna, by the command that a person types: it maximises what runs return, and can be continued."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf
from toys.commands import ROOT, SHORT_PENDULUM

ASKED = (*SHORT_PENDULUM, "sac.hidden=8", "logging=none", "sac.gamma=0.9", "sac.tau=interval(0.01,0.1)")


def launch(folder: Path, trials: int) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "hparams=optuna", f"hparams.n_trials={trials}", *ASKED]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def test_a_second_launch_continues_a_search_that_maximises_what_runs_return(tmp_path: Path) -> None:
    launch(tmp_path, trials=2)
    launch(tmp_path, trials=1)
    (database,) = tmp_path.glob("multirun/*/study.db")
    study = optuna.load_study(study_name="pendulum_dsrl_sac_search", storage=f"sqlite:///{database}")
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert len(study.trials) == 3
    scores = {}
    for summary in database.parent.glob("*/summary.json"):
        rate = OmegaConf.load(summary.parent / ".hydra" / "config.yaml").sac.actor_lr
        scores[rate] = json.loads(summary.read_text())["steered"]["mean_return"]
    assert {trial.params["sac.actor_lr"]: trial.value for trial in study.trials} == pytest.approx(scores)
    assert study.best_value == pytest.approx(max(scores.values()))
    for trial in study.trials:  # typed: a value leaves the space, a range joins it
        assert set(trial.params) == {"noise.magnitude", "sac.reward_scale", "sac.actor_lr", "sac.tau"}
