"""A signal for a run reaches wandb's own process too: the run outlives it. Its lines are not among the run's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# in a process of its own: within one process wandb cannot be used again once its service is gone
RUN = """
import os, signal, subprocess, sys
from dsrl.logging.wandb import WandbLogger

logger = WandbLogger(sys.argv[1], "dsrl", entity=None, group=None, name=None, mode="offline", timeout=60.0)
logger.log({"score": 1.0}, env_steps=1)
search = ["pgrep", "--parent", str(os.getpid()), "wandb-core"]
(service,) = map(int, subprocess.run(search, capture_output=True, text=True, check=True).stdout.split())
os.kill(service, signal.SIGTERM)
os.waitid(os.P_PID, service, os.WEXITED | os.WNOWAIT)
for env_steps in range(2, 5):
    logger.log({"score": 1.0}, env_steps=env_steps)
logger.close()
print("done")
"""


def test_a_run_goes_on_when_wandbs_own_process_is_told_to_end(tmp_path: Path) -> None:
    alone = {
        key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "XDG_"))
    }  # no service of this process
    alone["HOME"] = "/proc/none"  # where nobody, the superuser too, can write
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    done = subprocess.run(command, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " server: " not in done.stdout + done.stderr  # it logs below the run's folder in place of its home
    assert list(tmp_path.glob("wandb/cache/wandb/logs/core-debug-*.log"))
    said = [line for line in done.stdout.splitlines() if line == "done" or "process has ended" in line]
    assert len(said) == 2
    assert said[0].startswith("wandb's own process has ended (")
    assert said[1] == "done"
