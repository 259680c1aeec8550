"""A signal for a run reaches wandb's own process too: the run outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from dsrl.logging.wandb import WandbLogger


def test_a_run_goes_on_when_wandbs_own_process_is_told_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = WandbLogger(str(tmp_path), "dsrl", entity=None, group=None, name=None, mode="offline", timeout=60.0)
    logger.log({"score": 1.0}, env_steps=1)
    found = subprocess.run(
        ["pgrep", "--parent", str(os.getpid()), "wandb-core"], capture_output=True, text=True, check=True
    )
    (service,) = map(int, found.stdout.split())
    os.kill(service, signal.SIGTERM)
    os.waitid(os.P_PID, service, os.WEXITED | os.WNOWAIT)
    for env_steps in range(2, 5):
        logger.log({"score": 1.0}, env_steps=env_steps)
    logger.close()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "ended" in line]
    assert line.startswith("wandb's own process has ended (")
