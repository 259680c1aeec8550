"""Describes a run for destinations that list many of them: name, group and tags tell the runs of a sweep apart.

task=hopper sac=dsrl_na utd=2 seed=1   ->   name  hopper dsrl_na utd=2 seed=1      tags  hopper, diffusion_mlp, dsrl_na
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrl.logging import Description
from dsrl.run.config.request import Request
from dsrl.run.saved.plain_yaml import noted, read_plain
from dsrl.run.terminal.choices import top_level

LONGEST = 128  # characters of a name that wandb takes
NAMED_ANYWAY = ("task", "sac", "seed")
OF_NO_RESULT = (
    *("logging", "cluster", "hparams", "hydra", "plugins", "resume", "threads", "learner_device"),
    *("keep_checkpoints", "checkpoint_minutes", "plot", "video_episodes", "zero_noise"),
    *("confirm_episodes", "confirm_seed"),
)
"""Groups and keys that change where and how a run is executed and what it shows besides, but not its scores."""

_CHOICE = re.compile(r"[\w.-]{1,64}")  # the name of a file in conf/, as long as a tag of wandb may be


def described_run(
    config: Mapping[str, Any], chosen: Mapping[str, Any], typed: Mapping[str, str], sweep: Path | None
) -> Description:
    """Describe a run of train.py by its resolved config, the choices of groups, and the texts of typed keys."""
    name = _name([str(chosen["task"]), str(chosen["sac"])], typed, f"seed={config['seed']}")
    tags = tuple(str(chosen[group]) for group in ("task", "policy", "sac"))
    return Description(config, name, None if sweep is None else _sweep_name(sweep), tags, "train")


def described_evaluation(
    config: Mapping[str, Any], chosen: Mapping[str, str], request: Request, played: Mapping[str, Any]
) -> Description:
    """Describe an evaluation of a saved run by the run's config, its choices of groups, and what was `played`."""
    others = [f"{key}={played[key]}" for key in ("eval_episodes", "test_seed") if played[key] is not None]
    name = " ".join([f"eval {request.checkpoint} {request.run}", *others])
    built = {group: str(config[group]["_target_"]).split(".")[-2] for group in ("task", "policy", "sac")}
    tags = tuple(chosen.get(group, module) for group, module in built.items())
    return Description({**config, "evaluation": dict(played)}, name, None, tags, "eval")


def saved_choices(notes: Path) -> dict[str, str]:
    """Read the choices of groups, such as task -> pendulum, from what Hydra noted of a run; {} without that file.

    Raises ValueError where the file is damaged.
    """
    node = noted(read_plain(notes), "runtime", "choices") if notes.is_file() else None
    found = node.items() if isinstance(node, dict) else ()
    return {str(group): name for group, name in found if isinstance(name, str) and _CHOICE.fullmatch(name)}


def flat_results(found: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return the numbers of summaries by flat names, such as steered/success_rate and steered/ci95_low."""
    flat: dict[str, Any] = {}
    for name, numbers in found.items():
        for key, value in (numbers or {}).items():
            if key == "ci95":
                flat |= {} if value is None else {f"{name}/ci95_low": value[0], f"{name}/ci95_high": value[1]}
            elif value is not None:
                flat[f"{name}/{key}"] = value
    return flat


def _name(first: list[str], typed: Mapping[str, str], last: str) -> str:
    """Join the parts of a name; where it gets too long, the last keys without a group are left out."""
    others = {
        key: text
        for key, text in typed.items()
        if key not in NAMED_ANYWAY and key.partition(".")[0] not in OF_NO_RESULT
    }
    scalars = [key for key in others if key in top_level()]
    while scalars and len(" ".join([*first, *others.values(), last])) > LONGEST:
        del others[scalars.pop()]
    return " ".join([*first, *others.values(), last])


def _sweep_name(sweep: Path) -> str:
    """Return the last two folders of a sweep's path, which are its date and time unless it was named."""
    return "_".join(part for part in sweep.parts[-2:] if part not in ("/", "multirun", ".."))
