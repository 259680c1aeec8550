"""Jobs of cluster=local on a busy machine: each has a log from its start."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from submitit.core.utils import JobPaths

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
