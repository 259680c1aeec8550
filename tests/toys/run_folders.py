"""Writes run folders with the files of train.py, without any training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dsrl.evaluation.video import mp4


def write_run(
    folder: Path,
    *,
    task: str = "simple_pick",
    keys: dict[str, Any] | None = None,
    path: str | None = None,
    sac: str = "dsrl_sac",
    method: str | None = None,
    suite: str | None = None,
    noise: str = "repeat",
    zero_noise: float | None = None,
    options: dict[str, Any] | None = None,
    top: dict[str, Any] | None = None,
    seed: int = 0,
    success: float | None = 0.5,
    steered: float | None = None,
    base: float | None = 0.25,
    curve: Sequence[float] = (),
    finished: bool = True,
    added: dict[str, Any] | None = None,
    film: bool = False,
) -> Path:
    """A run of 1000 environment steps and 60 s per validation; `success=None` for a task without success, of mean
    return `steered`.

    `keys` are further ones of the task, `path` is the policy's, `options` the algorithm's, `top` belong to no group;
    `added` are entries of its summary.
    """
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True)
    config = {
        "seed": seed,
        "decisions": 8000,
        **(top or {}),
        "task": {"_target_": f"dsrl.task.{task}.Task", "reward": "sparse", **(keys or {})},
        "policy": {"_target_": "dsrl.policy.smolvla.SmolVLA", "path": path},
        "noise": {"_target_": f"dsrl.noise.{noise}.Noise", "magnitude": 1.5},
        "sac": {"_target_": f"dsrl.sac.{sac}.build_{sac}", "alpha": "auto", **(options or {})},
        "logging": {"csv": {"_target_": "dsrl.logging.csv.CsvLogger", "folder": str(folder)}},
    }
    choices = {"task": task, "policy": "smolvla", "noise": noise, "sac": sac, "logging": "csv"}
    choices |= {"method": method, "suite": suite}
    (hydra / "config.yaml").write_text(yaml.safe_dump(config))
    (hydra / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": choices}}}))
    (hydra / "overrides.yaml").write_text(yaml.safe_dump([f"seed={seed}"]))
    rows = []
    for index, score in enumerate(curve, start=1):
        known = {} if success is None else {"eval/success_rate": score}
        row = {"env_steps": 1000.0 * index, "decisions": 100.0 * index, "wall_time_s": 60.0 * index}
        rows.append({**row, **known, "eval/mean_return": score})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = {"git_commit": "0123abc", "git_changed": [], "python": "3.12.1", "gpu": None}
    (folder / "environment.json").write_text(json.dumps(environment))
    if finished:
        (folder / "summary.json").write_text(
            json.dumps({**_summary(success, base, zero_noise, steered), **(added or {})})
        )
    if film:
        frames = [np.full((48, 96, 3), shade, np.uint8) for shade in range(0, 250, 25)]
        (folder / "base_vs_steered.mp4").write_bytes(mp4(frames))
    return folder


def _summary(
    success: float | None, base: float | None, zero_noise: float | None, steered: float | None
) -> dict[str, Any]:
    def side(rate: float | None, earned: float | None = None) -> dict[str, Any]:
        earned = -100.0 if earned is None else earned
        return {"success_rate": rate, "mean_return": earned if rate is None else rate, "episodes": 256, "ci95": None}

    return {
        "base": None if base is None else side(base),
        "zero_noise": None if zero_noise is None else side(zero_noise),
        "steered": side(success, steered),
        "returned": "steered",
        "confirmation": {"better": True},
        "paired": None
        if base is None
        else {"both": 1, "only_steered": 3, "only_base": 1, "neither": 1, "p_value": 0.625},
        "env_steps": 8000,
        "decisions": 2000,
        "wall_time_s": 480.0,
        "packages": {"dsrl": "0.1.0", "torch": "2.11.0"},
    }
