"""Writes the model card: what was steered, in which worlds, with which result, by which command."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrl.policy._find import HUB_ID


def card(
    run: Path, name: str, checkpoint: str, content: Mapping[str, Any], summary: Mapping[str, Any], task: str
) -> str:
    """Return the text of README.md, with the metadata that the hub reads at its top."""
    settings, base = content["settings"], str(content["policy"]["path"])
    hub = [f"base_model: {base}"] if HUB_ID.fullmatch(base) and not content["copied"] else []
    metadata = ["library_name: lerobot", "pipeline_tag: robotics", "tags: [lerobot, robotics, dsrl]", *hub]
    worlds = f"{settings['eval_episodes']} worlds, seeds {settings['test_seed']} to "
    worlds += str(settings["test_seed"] + settings["eval_episodes"] - 1)
    returned = summary.get("returned", "steered")
    unconfirmed = "\nThe run did not confirm that steering helps, and returned the base policy.\n"
    where = "a copy in `base/`" if content["copied"] else f"`{base}`"
    algorithm = str(content["sac"]["_target_"]).split(".")[-2]
    noise = str(content["noise"]["_target_"]).split(".")[-2]
    return "\n".join(
        [
            "---",
            *metadata,
            "---",
            "",
            f"# {name}",
            "",
            f"A frozen policy, {where}, steered in its noise space by [DSRL](https://arxiv.org/abs/2506.15799): "
            f"`{algorithm}` with `{noise}` noise within ±{content['noise']['magnitude']}, checkpoint `{checkpoint}`.",
            f"No weight of the base policy was changed; its sha256 is `{content['base_sha256']}`.",
            "",
            f"Task: `{task}`. {worlds[0].upper()}{worlds[1:]}, the same for both policies.",
            "" if returned == "steered" else unconfirmed,
            "| policy | success | 95 % interval | mean return | episodes |",
            "|---|---|---|---|---|",
            *(_row(label, summary.get(key)) for label, key in (("base", "base"), ("steered", "steered"))),
            "",
            _paired(summary),
            "",
            "## Commands",
            "",
            f"    {_command(run)}",
            "    pip install dsrl-steering lerobot_policy_dsrl",
            f"    lerobot-eval --policy.path={name} --env.type=… --seed={settings['test_seed']} "
            f"--eval.n_episodes={settings['eval_episodes']}",
            "",
        ]
    )


def _row(label: str, numbers: Any) -> str:
    if not isinstance(numbers, Mapping):
        return f"| {label} | not evaluated | - | - | - |"
    rate, interval = numbers.get("success_rate"), numbers.get("ci95")
    success = "-" if rate is None else f"{rate:.1%}"
    between = "-" if interval is None else "{:.1%} … {:.1%}".format(*interval)
    return f"| {label} | {success} | {between} | {numbers['mean_return']:.3f} | {numbers['episodes']} |"


def _paired(summary: Mapping[str, Any]) -> str:
    pair = summary.get("paired")
    if not isinstance(pair, Mapping):
        return "The two policies were not compared by successes."
    return f"Exact McNemar test of the two in the same worlds: p = {pair['p_value']:.2g}."


def _command(run: Path) -> str:
    """Return the command that trained the run; its overrides are text of the run's folder, and stay on one line."""
    file = run / ".hydra" / "overrides.yaml"
    lines = file.read_text().splitlines() if file.is_file() else []
    typed = [re.sub(r"[^\x20-\x7e]|`", "", line.removeprefix("- ")).strip() for line in lines if line.startswith("- ")]
    return " ".join(["python train.py", *(json.loads(one) if one.startswith('"') else one for one in typed)])
