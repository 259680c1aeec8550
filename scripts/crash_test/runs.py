"""The small real run that the crash test disturbs: starting it, watching it, and what it leaves."""

from __future__ import annotations

import json
import logging
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from dsrl.run.folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
DECISIONS, EVAL_EVERY = 1600, 40
OPTIONS = (
    "task=pendulum",
    "logging=tensorboard",
    "num_envs=2",
    "task.max_steps=20",
    "warmup_decisions=40",
    f"decisions={DECISIONS}",
    "batch_size=16",
    f"eval_every={EVAL_EVERY}",
    "eval_episodes=4",
    "validation_episodes=2",
    "sac.hidden=16",
    "checkpoint_minutes=0.01",  # in mid-episode too
)
CLOCKS = ("wall_time_s", "setup_time_s")


class Run:
    """`python train.py` in a folder of its own; the same command begins it and goes on with it."""

    def __init__(self, folder: Path) -> None:
        """What it prints goes beside the folder, so that a full disk does not hide it."""
        self.folder, self.output = folder, folder.with_name(folder.name + ".txt")
        self._kept: dict[str, Any] | None = None

    def start(self) -> ForkProcess:
        """A process that is about to run it, forked off this one, which has loaded the libraries already."""
        process = get_context("fork").Process(target=_train, args=(self._arguments(), self.output))
        with warnings.catch_warnings():  # the threads that Python warns of are NumPy's, which outlive a fork well
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        return process

    def finish(self, *options: str, environment: Mapping[str, str] | None = None) -> int:
        """Let it run to its end by the command that a person types; its exit code."""
        with self.output.open("ab") as output:
            command = [sys.executable, *self._arguments(), *options]
            own = {**os.environ, **(environment or {})}
            return subprocess.run(command, cwd=ROOT, env=own, stdout=output, stderr=subprocess.STDOUT).returncode

    def _arguments(self) -> list[str]:
        return [str(ROOT / "train.py"), *OPTIONS, f"hydra.run.dir={self.folder}"]

    def checkpoints(self) -> list[str]:
        """The names of those that are whole or were, oldest first."""
        resume = RunFolder(self.folder).resume
        return sorted(path.name for path in resume.iterdir() if path.name.isdigit()) if resume.is_dir() else []

    def is_writing(self) -> bool:
        """Whether a checkpoint is being written, or was when the run died."""
        return (RunFolder(self.folder).resume / ".unfinished").exists()

    def interval(self) -> float:
        """The seconds that one validation and the training before it took."""
        seconds: float = json.loads((self.folder / "summary.json").read_text())["wall_time_s"]
        return seconds * EVAL_EVERY / DECISIONS

    def keep(self) -> None:
        """Remember what it left: its folder is about to vanish."""
        self._kept = self.left()

    def left(self) -> dict[str, Any]:
        """All results besides times: figures, metrics, and digests of the weights and of the newest checkpoint."""
        if self._kept is not None:
            return self._kept
        summary = json.loads((self.folder / "summary.json").read_text())
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        for figures in (summary, *rows):
            for clock in CLOCKS:
                figures.pop(clock, None)
        run = RunFolder(self.folder)
        newest = json.loads((run.resume / self.checkpoints()[-1] / "manifest.json").read_text())
        return {
            "summary": summary,
            "metrics": rows,
            "TensorBoard's points": _points(self.folder / "tensorboard"),
            "weights": {name: run.checkpoint_sha256(name) for name in ("best", "last")},
            "newest checkpoint": newest["tensors.safetensors"],
        }


def load_libraries() -> None:
    """What every run imports first, for many seconds; `start` then takes none."""
    ours = ("dsrl.run.build", "dsrl.run.train", "dsrl.task.gym", "dsrl.policy.identity", "dsrl.sac.dsrl_sac")
    for module in (*ours, "torch._dynamo", "tensorboard.summary.writer.record_writer"):  # optimisers load the former
        import_module(module)


def _train(arguments: list[str], output: Path) -> None:
    """Become `python train.py`, in a process of its own."""
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(ROOT)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


def differences(one: Run, other: Run) -> list[str]:
    """The names of what is not the same in both."""
    first, second = one.left(), other.left()
    return [name for name in first if first[name] != second[name]]


def _points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve but the clock's as TensorBoard shows it, over all parts of the run."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every part that hides points of an earlier
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    shown.Reload()
    names = [name for name in shown.Tags()["scalars"] if name not in CLOCKS]
    return {name: [(point.step, point.value) for point in shown.Scalars(name)] for name in names}
