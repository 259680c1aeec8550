"""Runs of every algorithm on the guessing task, complete from base evaluation to summary, in a few seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dsrl.logging.csv import CsvLogger
from dsrl.logging.tensorboard import TensorBoardLogger
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.parts import Parts
from dsrl.run.config.settings import Settings
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.signals import Signals
from dsrl.run.train import make_checkpointer, steer
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess
from toys.options import OPTIONS


class Killed(BaseException):
    """Ends a process in place of SIGKILL: a BaseException, so that no `except Exception` catches it."""


class RestorableGuess(Guess):
    """The guessing task with a state that can be saved and restored in mid-episode."""

    def state_dict(self) -> dict[str, Tensor]:
        return {"target": self.target.clone(), "elapsed": self.elapsed.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.target, self.elapsed = state["target"].clone(), state["elapsed"].clone()


def toy_parts() -> Parts:
    """Return DSRL-SAC on four worlds of one chunk each, with a budget that suffices to solve them."""
    settings = Settings(
        seed=0,
        num_envs=4,
        horizon=None,
        threads=1,
        learner_device="cpu",
        decisions=600,
        warmup_decisions=80,
        batch_size=32,
        buffer_size=1000,
        utd=1.0,
        eval_episodes=20,
        test_seed=1000,
        zero_noise=False,
        eval_every=200,
        validation_episodes=10,
        validation_seed=2000,
        confirm_episodes=0,
        confirm_seed=3000,
        video_episodes=2,
        plot=False,
        stop_on_collapse=False,
        best_of=None,
        offline_data=None,
        offline_updates=0,
        offline_share=None,
        offline_cloning_updates=0,
        success_share=None,
    )
    task, policy, noise = Guess(4, max_steps=2), Echo(), RepeatNoise((2, 1), 1.0, None)
    env = NoiseActionEnv(task, policy, noise, horizon=2)
    return Parts(settings, task, policy, noise, env, build_algorithm("dsrl_sac", env))


def short_parts(algorithm: str, task: type[Guess] = Guess) -> Parts:
    """Return an algorithm on episodes of three chunks, with a budget too short to learn much: an update a round."""
    parts = toy_parts()
    warm_up = {key: 5 for key in ("critic_warmup_updates",) if key in OPTIONS[algorithm]}
    env = NoiseActionEnv(task(4, max_steps=6), parts.policy, parts.noise, horizon=2)
    return replace(
        parts,
        settings=replace(parts.settings, decisions=120, warmup_decisions=20, utd=0.25, eval_every=40, video_episodes=0),
        task=env.task,
        env=env,
        algorithm=build_algorithm(algorithm, env, **warm_up),
        identity={"seed": 0},
    )


def few_evaluations(parts: Parts) -> Parts:
    """Return the parts with four episodes in each evaluation, for runs whose equality alone is shown."""
    return replace(parts, settings=replace(parts.settings, eval_episodes=4, validation_episodes=4))


def run(
    folder: Path,
    parts: Parts,
    signals: Signals | None = None,
    other: Path | None = None,
    minutes: float | None = None,
) -> None:
    """Train in `folder`, from its newest checkpoint or from that of `other`; a checkpoint every `minutes`."""
    run_folder, screen = RunFolder(folder), Screen()
    folder.mkdir(exist_ok=True)
    loggers = {"csv": CsvLogger(str(folder)), "tensorboard": TensorBoardLogger(str(folder))}
    checkpointer = make_checkpointer(
        parts, run_folder, screen, signals or Signals(), keep=9, minutes=minutes, other=other
    )
    steer(parts, run_folder, loggers, screen, checkpointer)


def results(folder: Path) -> dict[str, Any]:
    """Return summary, metrics and checkpoint hashes of a run, without the times, which differ between equal runs."""
    summary = json.loads((folder / "summary.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for numbers in (summary, *rows):
        numbers.pop("wall_time_s", None)
    for key in ("setup_time_s", "end_time_s", "requested"):
        summary.pop(key)
    manifests = {name: RunFolder(folder).checkpoint_sha256(name) for name in ("best", "last")}
    table = (folder / "metrics.csv").read_text().splitlines()
    return {"summary": summary, "rows": rows, "checkpoints": manifests, "table": (table[0], len(table))}
