"""Plays an exported policy: the frozen base, the noise that was learnt for it, and nothing else of the run.

folder/   config.json   model.safetensors (the algorithm's weights)   steering.json   README.md   base/ (if copied)

steering.json -> policy, noise, algorithm -> Observation [B] -> encode -> noise -> decode -> chunk [B, horizon, A]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dsrl.evaluation.noise_sources import evaluation_noise
from dsrl.interfaces import HasWeights, Observation, Step
from dsrl.run.build import build_player
from dsrl.run.checkpoint import unflatten
from dsrl.run.errors import UserError
from dsrl.run.files import parse_json

STEERING, WEIGHTS, BASE = "steering.json", "model.safetensors", "base"
VERSION = 1


@dataclass
class Described:
    """The task of an exported policy: its sizes, without a simulation."""

    state_dim: int
    action_dim: int
    cameras: Mapping[str, tuple[int, int, int]]
    max_steps: int
    num_envs: int = 1
    has_success: bool = True

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Raise: there are no worlds."""
        raise NotImplementedError

    def observe(self) -> Observation:
        """Raise: there are no worlds."""
        raise NotImplementedError

    def step(self, action: Tensor) -> Step:
        """Raise: there are no worlds."""
        raise NotImplementedError

    def hold(self) -> Tensor:
        """Raise: there are no worlds."""
        raise NotImplementedError


class ExportedPolicy:
    """A steered policy in the way that `eval.py` plays it."""

    def __init__(self, folder: Path, device: str | None = None, base: str | None = None) -> None:
        """Load an exported folder; `device` and `base` (the base policy's path) replace those that it names.

        Raises UserError where the folder is damaged, or the base policy has other weights than were steered.
        """
        content = _read(folder)
        nodes: dict[str, Any] = {key: content[key] for key in ("policy", "noise", "sac", "horizon")}
        nodes["policy"]["path"] = base or (str(folder / BASE) if content["copied"] else nodes["policy"]["path"])
        if device is not None:
            nodes["policy"]["device"] = device
        described = {**content["task"], "cameras": {name: tuple(s) for name, s in content["task"]["cameras"].items()}}
        task = Described(**described)
        self.env, algorithm = build_player(nodes, task)
        policy = self.env.policy
        found = policy.policy_sha256() if isinstance(policy, HasWeights) else None
        if found != content["base_sha256"]:
            raise UserError(
                f"the base policy {nodes['policy']['path']} has weights with sha256 {found} but "
                f"{content['base_sha256']} were steered; restore it, or export again with --copy-base"
            )
        if content["state"] is not None:
            algorithm.load_state_dict(unflatten(content["state"], load_file(folder / WEIGHTS)))
        self._act = evaluation_noise(algorithm, self.env.noise, best_of=content["best_of"])
        self.first_seed: int = content["first_seed"]
        self.horizon = self.env.horizon
        self._bounds = content["action_low"], content["action_high"]

    @torch.no_grad()
    def chunk(self, observation: Observation, seeds: Sequence[int], decision: int) -> Tensor:
        """Return the actions [B, horizon, A] of one decision in the worlds `seeds`, within the task's bounds."""
        encoding = self.env.policy.encode(observation)
        noise = self._act(encoding, seeds, decision).to(encoding.features.device)
        chunk = self.env.policy.decode(encoding, noise)[:, : self.horizon]
        low, high = (None if bound is None else torch.tensor(bound).to(chunk) for bound in self._bounds)
        return chunk if low is None else chunk.clamp(low, high)


def _read(folder: Path) -> dict[str, Any]:
    try:
        content = parse_json(folder / STEERING)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is no exported policy ({error}); export one: python -m scripts.export") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise UserError(f"{folder / STEERING} is not of version {VERSION}; export the run again")
    return content
