"""Saves and loads an MLP policy: a folder with `config.json` (`MLPConfig`) and `model.safetensors` (`Denoiser`)."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from dsrl.policy._checkpoint_files import MIB, check_shapes, file_inside, read_json, read_shapes
from dsrl.policy._denoiser import Denoiser
from dsrl.policy._policy_types import POLICY_TYPES
from dsrl.policy._weights import ASSETS
from dsrl.schema import Check, integer, number, optional, record, sequence, text

KINDS = ("flow_mlp", "diffusion_mlp")
CONFIG, WEIGHTS = "config.json", "model.safetensors"
LARGEST_WEIGHTS = 1024 * MIB  # bytes; the bundled ones have at most 1 MiB
_NUMBERS = sequence(number(-1e30, 1e30), 1, 4096)  # finite in float32, with their sums
_FIELDS: dict[str, Check] = {  # of MLPConfig
    "policy": text(),
    "chunk": integer(1, 1024),
    "hidden": integer(1, 8192),
    "depth": integer(0, 128),
    "num_steps": integer(1, 10_000),
    "train_steps": optional(integer(1, 10_000)),
    "state_mean": _NUMBERS,
    "state_std": _NUMBERS,
    "action_low": _NUMBERS,
    "action_high": _NUMBERS,
}


@dataclass(frozen=True)
class MLPConfig:
    """Sizes and statistics of an MLP policy, in the units of the data that it was trained on."""

    policy: str  # the kind, one of KINDS
    chunk: int  # actions per chunk
    hidden: int  # width of the network
    depth: int  # residual layers
    num_steps: int  # of a denoising, unless the user chooses another number
    train_steps: int | None  # levels of noise that a diffusion was trained on; None for a flow, which has no levels
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    action_low: tuple[float, ...]  # least and greatest actions of the data: [-1, 1] to the network
    action_high: tuple[float, ...]

    @property
    def state_dim(self) -> int:
        return len(self.state_mean)

    @property
    def action_dim(self) -> int:
        return len(self.action_low)

    def build(self) -> Denoiser:
        """Build the network with untrained weights."""
        return Denoiser(self.state_dim, self.chunk * self.action_dim, self.hidden, self.depth)


def save_checkpoint(folder: Path, config: MLPConfig, network: Denoiser) -> None:
    """Write both files into `folder`, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")


def load_checkpoint(path: str, policy: str) -> tuple[MLPConfig, Denoiser]:
    """Load the frozen policy of kind `policy` at `path`, a bundled one's name or a folder.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is of another kind, its files do not fit each other, or a link leads out of the folder.
    """
    folder, config = read_checkpoint(path, policy)
    weights = file_inside(folder, WEIGHTS)
    shapes = read_shapes(weights, LARGEST_WEIGHTS)
    with torch.device("meta"):  # takes no memory: sizes that no weight backs end here
        described = config.build()
    check_shapes(weights, shapes, described)
    network = config.build()
    network.load_state_dict(load_file(weights))
    if not all(bool(weight.isfinite().all()) for weight in network.parameters()):
        raise ValueError(f"{weights} holds weights that are not finite; write it anew by pretrain")
    return config, network.requires_grad_(False).eval()


def read_checkpoint(path: str, policy: str) -> tuple[Path, MLPConfig]:
    """Find the checkpoint of kind `policy` at `path` and read its config, without the weights; raises as above."""
    folder = _find(path, policy)
    return folder, _read_config(file_inside(folder, CONFIG), policy)


def _find(path: str, policy: str) -> Path:
    bundled = ASSETS / path
    folder = bundled if re.fullmatch(r"[\w-]+/\w+", path) and bundled.is_dir() else Path(path)
    if not folder.is_dir():
        names = [str(one.relative_to(ASSETS)) for one in sorted(ASSETS.glob(f"*/{policy}"))]
        raise FileNotFoundError(
            f"policy.path={path} is not a folder and not a bundled policy; type one of {names}, "
            "or the folder of a checkpoint that `python -m scripts.pretrain` wrote (MetaWorld: from demonstrations of "
            "`python -m scripts.collect_expert`; MuJoCo: `python -m scripts.medium_base` does both)"
        )
    missing = [name for name in (CONFIG, WEIGHTS) if not file_inside(folder, name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"policy.path={path} lacks {' and '.join(missing)}; a checkpoint of scripts/pretrain has both"
        )
    return folder.resolve()


def _read_config(file: Path, policy: str) -> MLPConfig:
    found = read_json(file)
    kind = found.get("policy", found.get("type"))
    if kind != policy:
        found_kind = f"{file.parent} is of kind {repr(kind)[:40]}"
        raise ValueError(f"{found_kind} but policy={policy} loads {policy!r} only; {_loader(kind, policy)}")
    wrong = sorted(set(_FIELDS) ^ set(found))
    if wrong:
        raise ValueError(
            f"{file} and the installed dsrl disagree about the key {wrong[0][:60]}; write it anew by pretrain"
        )
    record(_FIELDS)(str(file), found)
    if policy == "diffusion_mlp":
        integer(1, 10_000)(f"{file}: train_steps", found["train_steps"])
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    config = MLPConfig(**values)
    _check_statistics(file, config)
    return config


def _loader(kind: Any, policy: str) -> str:
    """Return what to type for a checkpoint of another kind than `policy` loads."""
    if kind in KINDS:
        return f"type policy={kind}"
    known = isinstance(kind, str) and kind in POLICY_TYPES
    return "type policy=lerobot" if known else f"give policy.path a checkpoint of kind {policy}"


def _check_statistics(file: Path, config: MLPConfig) -> None:
    """Check that means, spreads and ranges are equal in number and no spread is nil. Raises ValueError."""
    for name, low, high in (
        ("state", (0.0,) * len(config.state_std), config.state_std),
        ("action", config.action_low, config.action_high),
    ):
        if len(low) != len(high) or len(config.state_mean) != len(config.state_std):
            raise ValueError(f"{file} has statistics of the {name} that differ in number; write it anew by pretrain")
        bad = [i for i in range(len(low)) if not low[i] < high[i]]
        if bad:
            raise ValueError(
                f"{file} has no spread of {name}{bad}, which would divide by nothing; widen its statistics"
            )
