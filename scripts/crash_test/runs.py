"""Starts the small real run of the crash test, watches it and reads its results."""

from __future__ import annotations

import json
import logging
import os
import re
import runpy
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from dsrl.run.saved.files import completed_name, sha256_of
from dsrl.run.saved.folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
CLOCKS = ("wall_time_s", "setup_time_s", "end_time_s")
PICTURES = ("learning_curve.png", "base_vs_steered.mp4")


class LostError(Exception):
    """A run did not go on, or did not report in one line what happened."""


@dataclass(frozen=True)
class Small:
    """A small run of a task, and how it is killed."""

    decisions: int
    eval_every: int
    options: tuple[str, ...]
    modules: tuple[str, ...]  # of this run besides those of every run
    kills: int  # of one run at most: each in training lets it get further
    starting_s: float  # s in which it composes its config, builds its parts and reads a checkpoint
    phase_s: float  # s of a phase after training, roughly
    late: tuple[str, ...]  # places after training, see kills.py


OPTIONS = (
    "logging=tensorboard",
    "num_envs=2",
    "task.max_steps=20",
    "validation_episodes=2",
    "sac.hidden=16",
    "checkpoint_minutes=0.01",  # in mid-episode too
)
SMALL = {
    "pendulum": Small(
        decisions=1600,
        eval_every=40,
        options=("task=pendulum", "warmup_decisions=40", "batch_size=16", "eval_episodes=20"),
        modules=("dsrl.task.gym", "dsrl.policy.identity"),
        kills=30,
        starting_s=4.0,
        phase_s=0.2,
        late=("evaluation", "curve", "summary"),
    ),
    "simple_pick_state": Small(
        decisions=96,
        eval_every=8,
        options=(
            *("experiment=simple_pick_state", "warmup_decisions=8", "batch_size=8", "critic_warmup_updates=10"),
            *("eval_episodes=4", "confirm_episodes=8", "video_episodes=1"),
        ),
        modules=("dsrl.task.simple_pick", "dsrl.policy.flow_mlp", "genesis"),
        kills=16,
        starting_s=20.0,
        phase_s=0.5,
        late=("evaluation", "confirmation", "curve", "video", "summary"),
    ),
}


class Run:
    """`python train.py` in a folder of its own; the same command starts and resumes it."""

    def __init__(self, folder: Path, task: str) -> None:
        """Its output goes beside the folder, so that a full disk does not lose it."""
        self.folder, self.output, self.task = folder, folder.with_name(folder.name + ".txt"), task
        self.small = SMALL[task]
        self._results: dict[str, Any] | None = None
        self._logged = 0  # bytes of train.log before the latest start

    def start(self, killed_at: tuple[str, str] | None = None) -> ForkProcess:
        """Return a new process that runs it, forked from this one, which has loaded the libraries.

        `killed_at` is an event of Python and a file of the run: the process kills itself there, see `_kill_at`.
        """
        log = RunFolder(self.folder).log
        self._logged = log.stat().st_size if log.is_file() else 0
        process = get_context("fork").Process(target=_train, args=(self._arguments(), self.output, killed_at))
        with warnings.catch_warnings():  # Python warns of NumPy's threads, which a fork does not harm
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        return process

    def finish(self, *options: str, environment: Mapping[str, str] | None = None) -> int:
        """Return the exit code of the command that a person types, run to its end; `options` replace its own."""
        keys = {option.partition("=")[0] for option in options}
        kept = [argument for argument in self._arguments() if argument.partition("=")[0] not in keys]
        with self.output.open("ab") as output:
            command = [sys.executable, *kept, *options]
            own = {**os.environ, **(environment or {})}
            return subprocess.run(command, cwd=ROOT, env=own, stdout=output, stderr=subprocess.STDOUT).returncode

    def _arguments(self) -> list[str]:
        budget = f"decisions={self.small.decisions}", f"eval_every={self.small.eval_every}"
        return [str(ROOT / "train.py"), *self.small.options, *OPTIONS, *budget, f"hydra.run.dir={self.folder}"]

    def phase(self, phases: Mapping[str, str]) -> str | None:
        """Return the latest of `phases` (beginning of a line -> name) that train.log shows since the latest start."""
        log = RunFolder(self.folder).log
        text = log.read_bytes()[self._logged :].decode(errors="replace") if log.is_file() else ""
        lines = [re.sub(r"^\s*\d+ s\s+", "", line) for line in text.splitlines()]
        found = [name for line in lines for begins, name in phases.items() if line.startswith(begins)]
        return found[-1] if found else None

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
        seconds: float = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))["wall_time_s"]
        return seconds * self.small.eval_every / self.small.decisions

    def remember(self) -> None:
        """Read the results now: the folder is about to be unmounted."""
        self._results = self.results()

    def results(self) -> dict[str, Any]:
        """Return all results besides times: summary, metrics, digests of the weights and of the newest checkpoint."""
        if self._results is not None:
            return self._results
        summary = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
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
            **{name: sha256_of(path) for name in PICTURES if (path := self.folder / name).is_file()},
        }


def load_libraries(task: str) -> None:
    """Import the modules of every run of a task, which takes many seconds, before any `start`."""
    ours = ("dsrl.run.components.build", "dsrl.run.train", "dsrl.sac.dsrl_sac", *SMALL[task].modules)
    for module in (*ours, "torch._dynamo", "tensorboard.summary.writer.record_writer"):  # optimisers load the former
        import_module(module)


def wait(process: ForkProcess, reached: Callable[[], bool], pause: float = 0.01) -> None:
    """Wait until `reached`, or until the process has ended."""
    while process.is_alive() and not reached():
        time.sleep(pause)


def _train(arguments: list[str], output: Path, killed_at: tuple[str, str] | None) -> None:
    """Run `python train.py` in this process."""
    if killed_at is not None:
        _kill_at(*killed_at)
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(ROOT)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


def _kill_at(event: str, name: str) -> None:
    """Kill this process before it opens the partial file of `name`, or before that takes the file's place."""

    def hook(found: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0] if found == event else None
        if isinstance(path, str | os.PathLike) and completed_name(Path(path).name) == name:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


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
