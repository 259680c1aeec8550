"""Whole runs on the toys, of every algorithm, and what they leave that does not depend on the clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from test_workflow import SAC, _parts
from torch import Tensor

from dsrl.logging.csv import CsvLogger
from dsrl.logging.tensorboard import TensorBoardLogger
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run import train as workflow
from dsrl.run.build import Parts
from dsrl.run.console import Screen
from dsrl.run.folder import RunFolder
from dsrl.run.signals import Signals
from dsrl.sac.dsrl_na import build_dsrl_na
from dsrl.sac.dsrl_pi0 import build_dsrl_pi0
from dsrl.sac.dsrl_sac import build_dsrl_sac
from dsrl.sac.golden_ticket import build_golden_ticket
from dsrl.sac.lp_ds import build_lp_ds
from toys.guess import Guess

AUTO = SAC | {"alpha": "auto"}
LP_DS = {name: value for name, value in SAC.items() if name not in ("alpha", "initial_alpha", "target_entropy")}
LP_DS = {name: value for name, value in LP_DS.items() if name != "alpha_lr"}
LP_DS |= {"delta": "auto", "initial_multiplier": 0.1, "multiplier_lr": 3e-3}
NA = AUTO | {"replay": "context", "noise_critic_grad_steps": 2}

BUILDERS: dict[str, Callable[[NoiseActionEnv], Any]] = {
    "dsrl_sac": lambda env: build_dsrl_sac(*spaces(env), **SAC),
    "dsrl_na": lambda env: build_dsrl_na(*spaces(env), **NA, decoder=env.decode, chunk_shape=env.chunk_shape),
    "dsrl_pi0": lambda env: build_dsrl_pi0(*spaces(env), **AUTO, chunk_shape=env.chunk_shape),
    "lp_ds": lambda env: build_lp_ds(*spaces(env), **LP_DS),
    "golden_ticket": lambda env: build_golden_ticket(*spaces(env), candidates=4),
}


def spaces(env: NoiseActionEnv) -> tuple[Any, Any]:
    return env.observation_space, env.action_space


class Told(Guess):
    """The toy, with worlds that can be told in mid-episode."""

    def state(self) -> dict[str, Tensor]:
        return {"target": self.target.clone(), "elapsed": self.elapsed.clone()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        self.target, self.elapsed = state["target"].clone(), state["elapsed"].clone()


def parts_of(algorithm: str, task: type[Guess] = Guess) -> Parts:
    parts = _parts()
    env = NoiseActionEnv(task(4, max_steps=6), parts.policy, parts.noise, horizon=2)

    def make_algorithm() -> Any:
        torch.manual_seed(0)
        return BUILDERS[algorithm](env)

    settings = replace(parts.settings, decisions=120, warmup_decisions=20, eval_every=40, video_episodes=0)
    return replace(
        parts, settings=settings, task=env.task, env=env, make_algorithm=make_algorithm, identity={"seed": 0}
    )


def run(
    folder: Path,
    parts: Parts,
    signals: Signals | None = None,
    other: Path | None = None,
    minutes: float | None = None,
) -> None:
    run_folder, screen = RunFolder(folder), Screen()
    folder.mkdir(exist_ok=True)
    loggers = [CsvLogger(str(folder)), TensorBoardLogger(str(folder))]
    thread = workflow.make_thread(parts, run_folder, screen, signals or Signals(), keep=9, minutes=minutes, other=other)
    workflow.train(parts, run_folder, loggers, screen, thread)


def told(folder: Path) -> dict[str, Any]:
    """All results in a folder that do not depend on the clock."""
    summary = json.loads((folder / "summary.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for figures in (summary, *rows):
        figures.pop("wall_time_s", None)
    for key in ("setup_time_s", "asked"):
        summary.pop(key)
    manifests = {name: RunFolder(folder).checkpoint_sha256(name) for name in ("best", "last")}
    table = (folder / "metrics.csv").read_text().splitlines()
    return {"summary": summary, "rows": rows, "checkpoints": manifests, "table": (table[0], len(table))}
