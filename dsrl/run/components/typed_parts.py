"""Refuses typed keys that the built parts of a run do not use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsrl.interfaces import Policy
from dsrl.run.components.parts import HasLanguage


def check_unsteered(noise: Any, typed: Mapping[str, str]) -> None:
    """Raise ValueError where fresh noise was typed for a built parametrisation that steers all of the noise."""
    text = typed.get("noise.unsteered", "")
    if "fresh" in text and not noise.draws:
        dims = noise.noise_shape[1]
        fewer = f"type noise.action_dims below {dims}, or leave it out" if dims > 1 else "leave it out"
        raise ValueError(f"{text} is not used, because all of the noise is steered; {fewer}")


def check_instruction(policy: Policy, typed: Mapping[str, str]) -> None:
    """Raise ValueError where a sentence was typed for a built policy that says that it reads none."""
    text = typed.get("task.instruction", "task.instruction=null")
    if text != "task.instruction=null" and isinstance(policy, HasLanguage) and not policy.reads_instruction:
        raise ValueError(f"{text} is not used, because this policy reads no sentence; leave it out")
