"""Commands as users type them: train.py and eval.py in a process of their own, and overrides for a short run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # of a terminal that lacks some characters
SHORT_PENDULUM = (
    "task=pendulum",
    "num_envs=2",
    "task.max_steps=10",
    "decisions=120",
    "warmup_decisions=40",
    "batch_size=16",
    "eval_every=80",
    "eval_episodes=5",
    "validation_episodes=2",
)
TRAINING_ALONE = ("plot=false", "video_episodes=0", "confirm_episodes=0")  # without what follows the last evaluation


def type_command(*command: str, cwd: Path = ROOT, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a script of the project with its overrides in `cwd`, in a terminal of 200 columns; `python` are its flags."""
    return subprocess.run(
        [sys.executable, *python, str(ROOT / command[0]), *command[1:]],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def typed_into_a_closed_pipe(module: str, *arguments: str) -> tuple[int, str]:
    """Run a module of the project whose output nobody reads; returns its exit code and what it wrote to errors."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=500, check=False)
    os.close(writer)
    return done.returncode, done.stderr
