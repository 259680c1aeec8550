"""Sweeps of a copy of this project on the SLURM that tests/cluster/slurm/start.sh starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from toys.commands import ROOT

CONF = Path("/tmp/dsrl-slurm/slurm.conf")
DEADLINE = 900.0  # seconds; a loaded machine takes minutes for what takes a free one seconds
RUN = (
    *("task=pendulum", "logging=csv", "num_envs=2", "task.max_steps=20", "warmup_decisions=40", "decisions=560"),
    *("eval_every=80", "eval_episodes=4", "validation_episodes=2", "sac.hidden=16"),
    *("confirm_episodes=0", "plot=false"),
)
SLURM = ("cluster=slurm", "cluster.gpus=0", "cluster.cpus=1", "cluster.memory=2", "cluster.signal_delay=60")


def why_not() -> str | None:
    """Return the reason for which these tests cannot run here; None where they can."""
    if shutil.which("scontrol") is None:
        return "SLURM is not installed (apt-get install slurm-wlm munge)"
    ping = ["scontrol", "ping"] if CONF.is_file() else ["false"]
    if "is UP" not in subprocess.run(ping, env=environment(), capture_output=True, text=True, check=False).stdout:
        return "no SLURM for tests runs here; tests/cluster/slurm/start.sh starts one"
    return None


def environment() -> dict[str, str]:
    return {**os.environ, "SLURM_CONF": str(CONF)}


def slurm(*command: str) -> str:
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout


def project(folder: Path) -> Path:
    """Copy all that train.py needs into `folder`, where tests may edit it."""
    for name in ("conf", "dsrl", "hydra_plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", folder)
    return folder


class Sweep:
    """A running `python train.py … cluster=slurm` and the text in its terminal."""

    def __init__(self, project: Path, name: str, jobs: int, *overrides: str, flags: tuple[str, ...] = ()) -> None:
        self.folder, self.num_jobs = project / "multirun" / name, jobs
        self.terminal = project / f"{name}.txt"
        command = [sys.executable, "train.py", *flags, *RUN, *SLURM, *overrides, f"hydra.sweep.dir=multirun/{name}"]
        with self.terminal.open("w") as output:
            self._process = subprocess.Popen(
                command, cwd=project, env=environment(), stdout=output, stderr=subprocess.STDOUT
            )
        self.running_at_once = 0
        self.held_back = False  # whether the array's limit has ever been the reason for a pending job

    @property
    def text(self) -> str:
        return self.terminal.read_text()

    @property
    def submissions(self) -> list[Path]:
        """The files of this launch, one for each job, once it has named their folder: others may be planted beside."""
        named = re.search(r"logs in (\S+)", self.text)
        return [] if named is None else sorted((self.folder.parents[1] / named[1]).glob("*_submitted.pkl"))

    @property
    def number(self) -> str:
        """The array's job number."""
        return self.submissions[0].name.partition("_")[0]

    def signal(self, job: int, name: str) -> None:
        """Signal the processes of a job, by way of its step: with `scancel --signal=… <array>_<job>` SLURM 22.05
        sends the signal again and again as long as other jobs of the array are pending."""
        own = slurm("squeue", "--noheader", f"--jobs={self.number}_{job}", "--format=%A").strip()
        slurm("scancel", f"--signal={name}", f"{own}.0")

    def submitted(self) -> bool:
        return len(self.submissions) == self.num_jobs

    def at_work(self, job: int) -> bool:
        """Whether a job is in the middle of its training."""
        checkpoints = [path.name for path in (self.folder / str(job) / "resume").glob("0*")]
        return any(int(decisions) >= 80 for decisions in checkpoints)

    def log(self, job: int) -> str:
        """Return the output of a job in all its starts."""
        return "".join(path.read_text() for path in self.folder.glob(f".submitit/*/{self.number}_{job}_0_log.*"))

    def look(self) -> None:
        """Count the jobs that are running."""
        if self.submitted():
            rows = slurm("squeue", "--noheader", "--array", f"--jobs={self.number}", "--format=%T %r").splitlines()
            self.running_at_once = max(self.running_at_once, sum(row.startswith("RUNNING") for row in rows))
            self.held_back |= any("JobArrayTaskLimit" in row for row in rows)

    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int:
        return self._process.wait()

    def stop(self) -> None:
        """Stop the process and its jobs, also after a failed test."""
        if not self.ended():
            self._process.kill()
            if self.submitted():
                slurm("scancel", self.number)


def until(condition: Callable[[], bool], sweep: Sweep, other: Sweep) -> None:
    """Wait for `condition` while `sweep` runs; fails with the text in its terminal."""
    begin = looked = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < DEADLINE, f"it did not come in {DEADLINE} s:\n{sweep.text}"
        assert not sweep.ended() or condition(), f"it never came:\n{sweep.text}"
        if time.monotonic() - looked > 1.0:
            sweep.look()
            other.look()
            looked = time.monotonic()
        time.sleep(0.05)
