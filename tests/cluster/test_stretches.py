"""A job that SLURM would queue again for ever, because no stretch of work brings progress, ends with one sentence."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from omegaconf import DictConfig, OmegaConf

from dsrl.run.terminal.errors import UserError

if TYPE_CHECKING:
    from hydra_plugins.dsrl_launcher import SlurmLauncher

NOTHING: dict[str, Any] = {"partition": None, "account": None, "qos": None, "gpus": None, "memory": None}
OPTIONS: dict[str, Any] = {**NOTHING, "cpus": 1, "timeouts": 100, "parallel": 1, "setup": [], "more": {}}
ENDLESS = r"^2 stretches in a row wrote no checkpoint.*cluster\.hours=0\.02 with cluster\.signal_delay=30 leaves"


def _config(sweep: Path) -> DictConfig:
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep), "subdir": "0"}, "overrides": {"task": []}}})


def _launcher(hours: float, signal_delay: int) -> SlurmLauncher:
    from hydra_plugins.dsrl_launcher import SlurmLauncher  # here: Hydra imports its plugins anew, which pickle notices

    return SlurmLauncher(hours=hours, signal_delay=signal_delay, **OPTIONS)


def _queued_again(launcher: SlurmLauncher, config: DictConfig) -> SlurmLauncher:
    """Return the launcher of the next stretch, in another process."""
    launcher._stretches.begin()
    again: SlurmLauncher = pickle.loads(pickle.dumps(launcher.checkpoint(0, config, {}).function))
    return again


@pytest.mark.parametrize("name", ["resume/000000040/manifest.json", "base.json"])
def test_the_second_stretch_in_a_row_without_progress_is_the_last(name: str, tmp_path: Path) -> None:
    launcher, config = _launcher(0.02, 30), _config(tmp_path)
    launcher = _queued_again(launcher, config)
    progress = tmp_path / "0" / name
    progress.parent.mkdir(parents=True)
    progress.touch()
    for _ in range(2):
        launcher = _queued_again(launcher, config)
    with pytest.raises(UserError, match=ENDLESS):
        _queued_again(launcher, config)


def test_a_job_that_is_preempted_long_before_its_limit_is_queued_again_each_time(tmp_path: Path) -> None:
    launcher, config = _launcher(4.0, 300), _config(tmp_path)
    for _ in range(4):
        launcher = _queued_again(launcher, config)
