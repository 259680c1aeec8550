"""Starts the small real run of the crash test, watches it and reads its results."""

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
    """`python train.py` in a folder of its own; the same command starts and resumes it."""

    def __init__(self, folder: Path) -> None:
        """Its output goes beside the folder, so that a full disk does not lose it."""
        self.folder, self.output = folder, folder.with_name(folder.name + ".txt")
        self._results: dict[str, Any] | None = None

    def start(self) -> ForkProcess:
        """Return a new process that runs it, forked from this one, which has loaded the libraries."""
        process = get_context("fork").Process(target=_train, args=(self._arguments(), self.output))
        with warnings.catch_warnings():  # Python warns of NumPy's threads, which a fork does not harm
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        return process

    def finish(self, *options: str, environment: Mapping[str, str] | None = None) -> int:
        """Return the exit code of the command that a person types, run to its end."""
        with self.output.open("ab") as output:
            command = [sys.executable, *self._arguments(), *options]
            own = {**os.environ, **(environment or {})}
            return subprocess.run(command, cwd=ROOT, env=own, stdout=output, stderr=subprocess.STDOUT).returncode

    def _arguments(self) -> list[str]:
        return [str(ROOT / "train.py"), *OPTIONS, f"hydra.run.dir={self.folder}"]

    def checkpoints(self) -> list[str]:
        """Return the names of the complete checkpoints, also of damaged ones, oldest first."""
        resume = RunFolder(self.folder).resume
        return sorted(path.name for path in resume.iterdir() if path.name.isdigit()) if resume.is_dir() else []

    def newest_tensors(self) -> Path:
        """Return the file of the newest checkpoint's tensors."""
        (tensors,) = (RunFolder(self.folder).resume / self.checkpoints()[-1]).glob("*.safetensors")
        return tensors

    def is_writing(self) -> bool:
        """Return whether a checkpoint is being written, or was when the run died."""
        return (RunFolder(self.folder).resume / ".unfinished").exists()

    def interval(self) -> float:
        """Return seconds per validation and the training before it."""
        seconds: float = json.loads((self.folder / "summary.json").read_text())["wall_time_s"]
        return seconds * EVAL_EVERY / DECISIONS

    def remember(self) -> None:
        """Read the results now: the folder is about to be unmounted."""
        self._results = self.results()

    def results(self) -> dict[str, Any]:
        """Return all results besides times: summary, metrics, digests of the weights and of the newest checkpoint."""
        if self._results is not None:
            return self._results
        summary = json.loads((self.folder / "summary.json").read_text())
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        for numbers in (summary, *rows):
            for clock in CLOCKS:
                numbers.pop(clock, None)
        run = RunFolder(self.folder)
        return {
            "summary": summary,
            "metrics": rows,
            "TensorBoard's points": _points(self.folder / "tensorboard"),
            "weights": {name: run.checkpoint_sha256(name) for name in ("best", "last")},
            "newest checkpoint": self.newest_tensors().name,  # its digest
        }


def load_libraries() -> None:
    """Import the modules of every run, which takes many seconds, before any `start`."""
    ours = ("dsrl.run.build", "dsrl.run.train", "dsrl.task.gym", "dsrl.policy.identity", "dsrl.sac.dsrl_sac")
    for module in (*ours, "torch._dynamo", "tensorboard.summary.writer.record_writer"):  # optimisers load the former
        import_module(module)


def _train(arguments: list[str], output: Path) -> None:
    """Run `python train.py` in this process."""
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(ROOT)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


def differences(one: Run, other: Run) -> list[str]:
    """Return the names of the results that differ."""
    first, second = one.results(), other.results()
    return [name for name in first if first[name] != second[name]]


def _points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return every TensorBoard curve besides times, over all parts of the run."""
    logging.getLogger("tensorboard").setLevel(
        logging.ERROR
    )  # it warns of every part that replaces points of an earlier one
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    shown.Reload()
    names = [name for name in shown.Tags()["scalars"] if name not in CLOCKS]
    return {name: [(point.step, point.value) for point in shown.Scalars(name)] for name in names}
