"""Writes the model card: what was steered, in which worlds, with which result, by which command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrl.policy._find import HUB_ID
from dsrl.run.saved.plain_yaml import read_overrides
from dsrl.run.terminal.installed import bundled, typed
from dsrl.run.terminal.ranges import fits


def card(
    run: Path,
    name: str,
    checkpoint: str,
    content: Mapping[str, Any],
    summary: Mapping[str, Any],
    task: str,
    again: str,
) -> str:
    """Return the text of README.md, with the metadata that the hub reads at its top; `again` plays the policy."""
    settings, base = content["settings"], str(content["policy"]["path"])
    on_hub = HUB_ID.fullmatch(base) and not bundled(base)  # bundled policies have names of the same form
    hub = [f"base_model: {base}"] if on_hub and not content["copied"] else []
    metadata = ["library_name: lerobot", "pipeline_tag: robotics", "tags: [lerobot, robotics, dsrl]", *hub]
    worlds = f"{settings['eval_episodes']} worlds, seeds {settings['test_seed']} to "
    worlds += str(settings["test_seed"] + settings["eval_episodes"] - 1)
    together = "" if summary.get("unpaired") else ", the same for both policies"
    returned = summary.get("returned", "steered")
    unconfirmed = "\nThe run did not confirm that steering helps, and returned the base policy.\n"
    where = "a copy in `base/`" if content["copied"] else f"`{_line(base)}`"
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
            f"Task: `{_line(task)}`. {worlds[0].upper()}{worlds[1:]}{together}.",
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
            "    uv pip install . ./plugins/lerobot_policy_dsrl  # in a clone of dsrl",
            *(f"    {_printable(line)}" for line in again.splitlines()),
            "",
        ]
    )


def _row(label: str, numbers: Any) -> str:
    mean, episodes = _number(numbers, "mean_return"), _number(numbers, "episodes")
    if mean is None or episodes is None:
        return f"| {label} | not evaluated | - | - | - |"
    rate, interval = _number(numbers, "success_rate"), numbers.get("ci95")
    success = "-" if rate is None else f"{rate:.1%}"
    ends = [_number({"end": end}, "end") for end in interval] if isinstance(interval, list) else []
    between = f"{ends[0]:.1%} … {ends[1]:.1%}" if len(ends) == 2 and None not in ends else "-"
    return f"| {label} | {success} | {between} | {mean:.3f} | {episodes:g} |"


def _number(content: Any, key: str) -> float | None:
    """Return a number of the summary, which may come from anybody; None for anything else."""
    value = content.get(key) if isinstance(content, Mapping) else None
    return value if fits(value, float) else None


def _paired(summary: Mapping[str, Any]) -> str:
    p_value, apart = (_number(summary.get(test), "p_value") for test in ("paired", "unpaired"))
    if apart is not None:
        return f"Seeds do not repeat these worlds: each policy played its own. Unpaired test: p = {apart:.2g}."
    if p_value is None:
        return "The two policies were not compared by successes."
    return f"Exact McNemar test of the two in the same worlds: p = {p_value:.2g}."


def _command(run: Path) -> str:
    """Return the command that trained the run; its overrides are text of the run's folder, and stay on one line."""
    return " ".join([typed("train.py"), *(shlex.quote(_line(one)) for one in read_overrides(run))])


def _line(text: Any) -> str:
    """Return text without what could end its line or its place in the card."""
    return _printable(text).replace("`", "").strip()


def _printable(text: Any) -> str:
    return "".join(letter for letter in str(text) if letter.isprintable())
