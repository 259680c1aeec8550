"""Jobs of cluster=local on a busy machine: each has a log from its start, and Ctrl-C ends all with a checkpoint."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from submitit.core.utils import JobPaths
from toys.commands import ROOT, SHORT_PENDULUM, TRAINING_ALONE

from dsrl.run.saved.lock import locked
from dsrl.run.terminal.errors import UserError
from hydra_plugins.dsrl_launcher._private_files import make_private_folder, read_pickle
from hydra_plugins.dsrl_launcher._processes import submit

LIMIT = 600.0  # seconds: a machine under load takes minutes for what takes an idle one seconds


def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < LIMIT, "it did not come"
        time.sleep(0.05)


def test_a_job_that_is_faster_than_its_launcher_has_a_log_and_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, move = make_private_folder(tmp_path) / "0", JobPaths.move_temporary_file
    processes: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen.__init__

    def noted(self: subprocess.Popen[bytes], *arguments: Any, **options: Any) -> None:
        start(self, *arguments, **options)
        processes.append(self)

    def late(*arguments: Any) -> None:  # the launcher goes on when the process has opened its log, or has ended
        until(lambda: list(folder.glob("*_log.err")) or processes[-1].poll() is not None)
        move(*arguments)

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    monkeypatch.setattr(JobPaths, "move_temporary_file", late)
    job = submit(shlex.quote(sys.executable), 0, folder, abs, -3)
    until(job.done)
    assert job.paths.stderr.is_file()
    assert read_pickle(job.paths.result_pickle) == ("success", 3)


def _config(sweep: Path, number: int) -> DictConfig:
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep), "subdir": number}, "overrides": {"task": []}}})


def test_runs_that_a_killed_launcher_has_left_are_named_before_anything_starts(tmp_path: Path) -> None:
    from hydra_plugins.dsrl_launcher import LocalLauncher  # here: Hydra imports its plugins anew

    calls = [(number, _config(tmp_path, number)) for number in range(4)]
    for number in (1, 2, 3):
        (tmp_path / str(number)).mkdir()
    words = rf"^an earlier command has left run 1 as process {os.getpid()}; wait .+ \(kill {os.getpid()}\), and type "
    with locked(tmp_path / "1" / ".lock", "hydra.sweep.dir"), locked(tmp_path / "2" / ".lock", "hydra.sweep.dir"):
        (tmp_path / "2" / ".lock").write_text("process 1 on another-machine\n")
        with pytest.raises(UserError, match=words):
            LocalLauncher(parallel=2, gpus=0)._submit(calls, tmp_path / "private", tmp_path / "snapshot")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", ".lock", "1", "2", "3"]
    jobs, _ = LocalLauncher(parallel=2, gpus=0)._submit(calls, tmp_path / "private", tmp_path / "snapshot")
    assert len(jobs) == 4


def test_ctrl_c_ends_all_jobs_with_a_checkpoint_from_which_the_same_command_continues(tmp_path: Path) -> None:
    longer = [*SHORT_PENDULUM, *TRAINING_ALONE, "logging=csv", "decisions=20000", "seed=0,1"]
    longer += ["cluster=local", "hydra.sweep.dir=sweep"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *longer],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal's
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),  # as in the background of a script
    )
    runs = [tmp_path / "sweep" / number for number in "01"]
    try:
        until(lambda: all((run / "resume").exists() for run in runs) or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=LIMIT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + signal.SIGINT, (out, err)
    sentence = "stopping all jobs after this round with a checkpoint; press Ctrl-C again to stop at once"
    assert sentence in " ".join(out.split())
    assert out.splitlines()[-1] == "the same command with hydra.sweep.dir=sweep continues them"
    assert "Traceback" not in err
    for run in runs:
        (stopped,) = [line for line in (run / "train.log").read_text().splitlines() if "stopped by SIG" in line]
        newest = max((run / "resume").iterdir())
        assert f"continues from {int(newest.name)} decisions" in stopped
