"""The checkpoint of an MLP policy: a folder with `config.json` (`MLPConfig`) and `model.safetensors` (`Denoiser`)."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dsrl.policy._denoiser import Denoiser
from dsrl.policy._weights import ASSETS

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class MLPConfig:
    """All of a policy that is not a weight; states and actions in the units of the data that it was trained on."""

    policy: str  # the kind: flow_mlp or diffusion_mlp
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
        """The network, untrained."""
        return Denoiser(self.state_dim, self.chunk * self.action_dim, self.hidden, self.depth)


def save_checkpoint(folder: Path, config: MLPConfig, network: Denoiser) -> None:
    """Write both files into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=1) + "\n")


def load_checkpoint(path: str, policy: str) -> tuple[MLPConfig, Denoiser]:
    """The frozen policy of kind `policy` at `path`, a bundled one's name or a folder.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is of another kind, or its files do not make a whole.
    """
    folder = _find(path, policy)
    config = _read_config(folder / CONFIG, policy)
    network = config.build()
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit the sizes of its {CONFIG}: {error}") from error
    return config, network.requires_grad_(False).eval()


def _find(path: str, policy: str) -> Path:
    bundled = ASSETS / path
    folder = bundled if re.fullmatch(r"\w+/\w+", path) and bundled.is_dir() else Path(path)
    if not folder.is_dir():
        names = [str(one.relative_to(ASSETS)) for one in sorted(ASSETS.glob(f"*/{policy}"))]
        raise FileNotFoundError(
            f"policy.path={path} is not a folder and not a bundled policy; type one of {names}, "
            "or the folder of a checkpoint that scripts/pretrain.py wrote (scripts/medium_base.py, for a MuJoCo task)"
        )
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"policy.path={path} lacks {' and '.join(missing)}; a checkpoint of scripts/pretrain.py has both"
        )
    return folder.resolve()


def _read_config(file: Path, policy: str) -> MLPConfig:
    found = json.loads(file.read_text())
    kind = found.get("policy", found.get("type"))
    if kind != policy:
        raise ValueError(f"{file.parent} is of kind {kind!r} but policy={policy} loads {policy!r} only; give its own")
    names = {one.name for one in fields(MLPConfig)}
    wrong = sorted(names ^ set(found))
    if wrong:
        raise ValueError(f"{file} and the installed dsrl disagree about the key {wrong[0]}; write it anew by pretrain")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    config = MLPConfig(**values)
    _check_statistics(file, config)
    return config


def _check_statistics(file: Path, config: MLPConfig) -> None:
    """Means, spreads and ranges of equal number, finite, and no spread nil. Raises ValueError."""
    for name, low, high in (
        ("state", (0.0,) * len(config.state_std), config.state_std),
        ("action", config.action_low, config.action_high),
    ):
        if len(low) != len(high) or len(config.state_mean) != len(config.state_std):
            raise ValueError(f"{file} has statistics of the {name} that differ in number; write it anew by pretrain")
        bad = [
            i for i in range(len(low)) if not (math.isfinite(low[i]) and math.isfinite(high[i]) and low[i] < high[i])
        ]
        if bad:
            raise ValueError(
                f"{file} has no spread of {name}{bad}, which would divide by nothing; widen its statistics"
            )
