"""Writes the lines of Python that play an exported policy where lerobot has no environment of its task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dsrl.training.lerobot_columns import STATE, image_keys


def lines(policy: str, task: Mapping[str, Any]) -> str:
    """Return the lines for the folder `policy`; `task` has the sizes that the policy was steered on."""
    cameras = task["cameras"]
    columns = {STATE: ("state", f"[B, {task['state_dim']}]")} if task["state_dim"] else {}
    columns |= {
        key: (camera, f"[B, {', '.join(map(str, cameras[camera]))}]") for camera, key in image_keys(cameras).items()
    }
    batch = ", ".join(f"{json.dumps(key)}: {name}" for key, (name, _) in columns.items())
    shapes = ", ".join(f"{name} {shape}" for name, shape in columns.values())
    if task["has_sentences"]:
        batch, shapes = f'{batch}, "task": sentences', f"{shapes}, sentences: B texts, the run's instructions"
    found = [
        "from lerobot_policy_dsrl.modeling_dsrl import DsrlPolicy",
        f"policy = DsrlPolicy.from_pretrained({json.dumps(policy, ensure_ascii=False)})",
        f"action = policy.select_action({{{batch}}})  # {shapes}; policy.reset() before new episodes",
    ]
    return "\n".join("".join(letter for letter in line if letter.isprintable()) for line in found)
