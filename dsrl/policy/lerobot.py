"""Loads any lerobot policy that starts from Gaussian noise, by the type that its checkpoint names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from dsrl.devices import Device
from dsrl.policy._checkpoint_files import file_inside, read_json
from dsrl.policy._config_file import check_config
from dsrl.policy._find import find_checkpoint
from dsrl.policy._options import NumSteps
from dsrl.policy._weights import Dtype

DIFFUSERS = "'diffusers==0.39.0'"
CLASSES = {  # type -> module and class of ours, packages that it needs, what installs them
    "smolvla": ("smolvla.SmolVLA", (), ""),
    "pi0": ("pi0.Pi0", (), ""),
    "pi05": ("pi05.Pi05", (), ""),
    "eo1": ("eo1.EO1", (), ""),
    "diffusion": ("diffusion.Diffusion", ("diffusers",), DIFFUSERS),
    "multi_task_dit": ("multi_task_dit.MultiTaskDiT", ("diffusers",), DIFFUSERS),
}
IGNORES = "takes a noise argument and ignores it, so that nothing can be steered"
NO_NOISE = "draws no Gaussian noise that its actions start from, so that there is nothing to steer"
ELSEWHERE = "reads the sizes of its network from a second checkpoint, its {}, which dsrl does not load"
VIDEO = "imagines a video beside its actions and loads its encoders (Wan 2.2) from a second checkpoint, unlike dsrl"
REFUSED = {
    "act": NO_NOISE,
    "vqbet": NO_NOISE,
    "tdmpc": NO_NOISE,
    "pi0_fast": NO_NOISE,
    "evo1": "starts from uniform noise, and dsrl steers Gaussian noise",
    "groot": ELSEWHERE.format("base_model_path"),
    "wall_x": ELSEWHERE.format("pretrained_name_or_path"),
    "molmoact2": ELSEWHERE.format("checkpoint_path"),
    "fastwam": VIDEO,
    "lingbot_va": VIDEO,
    "xvla": IGNORES,
    "vla_jepa": IGNORES,
}


def load_policy(
    path: str,
    device: Device,
    dtype: Dtype,
    camera_map: Mapping[str, str] | None = None,
    num_steps: NumSteps | None = None,
) -> Any:
    """Load the policy of a lerobot checkpoint; the arguments are those of `LerobotPolicy`.

    Raises:
        FileNotFoundError, ValueError: with one sentence, if its type cannot be steered, a package that it needs is
            missing, or the checkpoint is damaged or does not fit the arguments.
    """
    module, _, policy = _class_for(path).partition(".")
    return getattr(importlib.import_module(f"dsrl.policy.{module}"), policy)(path, device, dtype, camera_map, num_steps)


def check_class(target: str, path: str) -> bool:
    """Return whether `target` is `load_policy` or one of CLASSES; the checkpoint at `path` is then checked for it.

    Loads no weights. Raises FileNotFoundError or ValueError where no checkpoint that it loads is there.
    """
    if target == "dsrl.policy.lerobot.load_policy":
        _class_for(path)
        return True
    for policy_type, (name, _, _) in CLASSES.items():
        if target == f"dsrl.policy.{name}":
            check_config(find_checkpoint(path), policy_type)
            return True
    return False


def _class_for(path: str) -> str:
    """Return module and class of ours for the type that a checkpoint names; raises as `load_policy`."""
    found = read_json(file_inside(find_checkpoint(path), "config.json")).get("type")
    known = f"choose a checkpoint of type {', '.join(CLASSES)}"
    if not isinstance(found, str) or found not in CLASSES:
        reason = REFUSED.get(str(found), "is not one that dsrl can load")
        raise ValueError(f"policy.path={path} is of type {str(found)[:40]!r}, which {reason}; {known}")
    name, packages, needs = CLASSES[found]
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ValueError(
            f"policy.path={path} is of type {found!r}, which needs the package {missing[0]}; type "
            f"uv pip install {needs}"
        )
    return name
