"""Plays an exported policy: the frozen base, the noise that was learnt for it, and nothing else of the run.

folder/   config.json   model.safetensors (the algorithm's weights)   steering.json   README.md   base/ (if copied)

steering.json -> policy, noise, algorithm -> Observation [B] -> encode -> noise -> decode -> chunk [B, horizon, A]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from safetensors.torch import load_file
from torch import Tensor

from dsrl.edits import EditsChunks
from dsrl.evaluation.noise_sources import evaluation_noise
from dsrl.foreign_json import check_depth
from dsrl.interfaces import HasWeights, Observation, Policy, Step
from dsrl.rules.finite_rules import check_worlds_finite
from dsrl.run.components.build import build_player
from dsrl.run.components.parts import backbone_sha256, configuration_sha256
from dsrl.run.config.settings import TYPES
from dsrl.run.config.worlds import Seed
from dsrl.run.saved.files import LARGEST_SUMMARY, parse_json
from dsrl.run.saved.plain_yaml import check_literal, check_references
from dsrl.run.saved.state_json import naming_damage, unflatten
from dsrl.run.saved.weights import check_weights_size, load_weights
from dsrl.run.terminal import ranges
from dsrl.run.terminal.errors import UserError, user_errors

STEERING, WEIGHTS, BASE = "steering.json", "model.safetensors", "base"
VERSION = 1
CONFIGURATION, BACKBONE = "base_configuration_sha256", "base_backbone_sha256"  # null where earlier versions exported
ON_CPU = {"device": "cpu", "float_dtype": None}  # lerobot replaces it by its own device
PROCESSORS: dict[str, dict[str, dict[str, Any]]] = {  # file -> registered steps of lerobot, with their options
    "policy_preprocessor.json": {
        "rename_observations_processor": {"rename_map": {}},
        "to_batch_processor": {},
        "device_processor": ON_CPU,
    },
    "policy_postprocessor.json": {"device_processor": ON_CPU},
}
"""All that an exported folder has: other steps of lerobot's could name any code."""

_DEEPEST = 100  # levels; the state of an algorithm has about 20
_Size = Annotated[int, Ge(1), Le(1_000_000)]
_CONTENT: dict[str, Any] = {
    **dict.fromkeys(("policy", "noise", "sac", "task"), Mapping[str, Any]),
    "horizon": _Size,
    "best_of": TYPES["best_of"],
    "first_seed": Seed,
    "copied": bool,
    "base_sha256": str,
    **dict.fromkeys((CONFIGURATION, BACKBONE), str | None),
    "action_low": Sequence[float] | None,
    "action_high": Sequence[float] | None,
    "state": Any,
}
_TASK: dict[str, Any] = {
    "state_dim": Annotated[int, Ge(0), Le(1_000_000)],
    "action_dim": _Size,
    "cameras": Mapping[str, Sequence[Annotated[int, Ge(1), Le(4096)]]],
    "max_steps": _Size,
    "has_success": bool,
    "has_sentences": bool,
}


@dataclass
class Described:
    """The task of an exported policy: its sizes, without a simulation."""

    state_dim: int
    action_dim: int
    cameras: Mapping[str, tuple[int, int, int]]
    max_steps: int
    num_envs: int = 1
    has_success: bool = True
    has_sentences: bool = False  # which the policy reads, one in every world; exports of before do not record it

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

        Raises UserError where the folder is damaged, or the base policy is another than was steered.
        """
        content = _read(folder)
        nodes: dict[str, Any] = {key: content[key] for key in ("policy", "noise", "sac", "horizon")}
        path = base or (str(folder / BASE) if content["copied"] else nodes["policy"]["path"])
        with user_errors():
            nodes["policy"]["path"] = check_literal("policy.path", path)
        if device is not None:
            nodes["policy"]["device"] = device
        cameras = {name: tuple(shape) for name, shape in content["task"]["cameras"].items()}
        self.task = Described(**{**content["task"], "cameras": cameras})
        self.env, algorithm = build_player(nodes, self.task)
        policy = self.env.policy
        found = policy.policy_sha256() if isinstance(policy, HasWeights) else None
        if found != content["base_sha256"]:
            raise UserError(
                f"the base policy {nodes['policy']['path']} has weights with sha256 {found} but "
                f"{content['base_sha256'][:64]} were steered; restore it, or export again with --copy-base"
            )
        _check_rest(policy, content, nodes["policy"]["path"])
        if content["state"] is not None:
            load_weights(algorithm, _weights(folder, content["state"], algorithm), str(folder / WEIGHTS))
        self._act = evaluation_noise(algorithm, self.env.noise, best_of=content["best_of"])
        self.first_seed: int = content["first_seed"]
        self.horizon = self.env.horizon
        self._bounds = content["action_low"], content["action_high"]

    @torch.no_grad()
    def chunk(self, observation: Observation, seeds: Sequence[int], decision: int) -> Tensor:
        """Return the actions [B, horizon, A] of one decision in the worlds `seeds`, within the task's bounds.

        Raises FloatingPointError where features or actions are not finite, as `eval.py` does.
        """
        encoding, rows = self.env.policy.encode(observation), torch.arange(len(seeds))
        check_worlds_finite(encoding.features, rows, "features")
        noise = self._act(encoding, seeds, decision).to(encoding.features.device)
        chunk = self.env.policy.decode(encoding, noise)[:, : self.horizon]
        chunk = self._act.edit(encoding, chunk) if isinstance(self._act, EditsChunks) else chunk
        check_worlds_finite(chunk, rows, "chunk")
        low, high = (None if bound is None else torch.tensor(bound).to(chunk) for bound in self._bounds)
        return chunk if low is None else chunk.clamp(low, high)


def _check_rest(policy: Policy, content: Mapping[str, Any], path: str) -> None:
    """Compare what else the base policy's chunks depend on; raises UserError where it is another than was steered."""
    for key, named, found in (
        (CONFIGURATION, "configuration, processors and statistics", configuration_sha256(policy)),
        (BACKBONE, "a backbone's sizes and tokenizer", backbone_sha256(policy)),
    ):
        if content[key] is not None and found != content[key]:
            raise UserError(
                f"the base policy {path} has {named} with sha256 {found} but {content[key][:64]} was steered; "
                "restore it, or export again with --copy-base"
            )


def _read(folder: Path) -> dict[str, Any]:
    """Return steering.json, every value of its type and range. Raises UserError for anything else in the folder."""
    file = folder / STEERING
    try:
        content = parse_json(file, LARGEST_SUMMARY)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is no exported policy ({error}); export one: python -m scripts.export") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise UserError(f"{file} is not of version {VERSION}; export the run again")
    content = {CONFIGURATION: None, BACKBONE: None, **content}  # exports of earlier versions lack them
    try:
        check_depth(content, _DEEPEST)
        _check_values(f"{file}: ", content, _CONTENT)
        _check_values(f"{file}: task.", {"has_sentences": False, **content["task"]}, _TASK)
        _check_sizes(file, content)
        check_references(file, {group: content[group] for group in ("policy", "noise", "sac")})
        for name, steps in PROCESSORS.items():
            _check_processors(folder / name, steps)
    except RecursionError:
        raise UserError(f"{file} is nested too deeply; export the run again") from None
    except ValueError as error:
        raise UserError(f"{error}; export the run again") from error
    return content


def _check_values(where: str, content: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    for key, declared in types.items():
        if key not in content:
            raise ValueError(f"{where}{key} is missing")
        ranges.check(f"{where}{key}", content[key], declared)


def _check_sizes(file: Path, content: Mapping[str, Any]) -> None:
    """Compare sizes with each other, and names with those that a task and a policy have."""
    task = content["task"]
    unknown = sorted(set(task) - set(_TASK))
    if unknown:
        raise ValueError(f"{file}: task.{unknown[0][:60]} is not described by an export")
    for bound in ("action_low", "action_high"):
        if content[bound] is not None and len(content[bound]) != task["action_dim"]:
            raise ValueError(f"{file}: {bound} has {len(content[bound])} numbers for {task['action_dim']} actions")
    if any(len(shape) != 3 or shape[0] != 3 for shape in task["cameras"].values()):
        raise ValueError(f"{file}: task.cameras must have the shape [3, height, width] each")
    if not isinstance(content["policy"].get("path"), str):
        raise ValueError(f"{file}: policy.path must name the base policy")


def _check_processors(file: Path, steps: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ValueError for a step or an option that no exported policy has; lerobot would run it."""
    content = parse_json(file, LARGEST_SUMMARY) if file.is_file() else {}
    listed = content.get("steps", []) if isinstance(content, dict) else [content]
    for step in listed if isinstance(listed, list) else [listed]:
        name = step.get("registry_name") if isinstance(step, dict) else None
        options = step.get("config", {}) if isinstance(step, dict) else {}
        if not isinstance(name, str) or name not in steps or set(step) - {"registry_name", "config"}:
            raise ValueError(f"{file} has the step {str(name)[:60]!r} but an export has {', '.join(steps)} alone")
        if not isinstance(options, dict) or set(options) - set(steps[name]):
            raise ValueError(f"{file} gives {name} options but it takes {', '.join(steps[name]) or 'none'}")


def _weights(folder: Path, state: Any, algorithm: Any) -> Any:
    """Return the algorithm's state, its structure filled with the tensors of the folder. Raises UserError."""
    file = folder / WEIGHTS
    if not file.is_file():
        raise UserError(f"{file} is missing; export the run again")
    check_weights_size(file, algorithm)
    with naming_damage(lambda reason: UserError(f"{folder} is damaged ({reason}); export the run again")):
        return unflatten(state, load_file(file))
