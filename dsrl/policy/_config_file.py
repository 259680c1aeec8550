"""The configuration of a lerobot checkpoint, checked without lerobot's code."""

from __future__ import annotations

from pathlib import Path

from dsrl.policy._checkpoint_files import file_inside, read_json
from dsrl.policy._find import ADAPTER
from dsrl.policy._policy_types import POLICY_TYPES


def check_config(checkpoint: Path, policy_type: str) -> Path:
    """Check the configuration of a checkpoint, and return its file.

    Raises:
        ValueError: if it is of another policy type, or holds a key, type or range that this type does not have.
    """
    file = file_inside(checkpoint, "config.json")
    found = read_json(file)
    if found.get("type") != policy_type:
        known = isinstance(found.get("type"), str) and found["type"] in POLICY_TYPES
        advice = f"{'type policy=lerobot, or ' if known else ''}give policy.path a {policy_type} checkpoint"
        raise ValueError(
            f"{checkpoint} is a lerobot checkpoint of type {repr(found.get('type'))[:40]} but policy={policy_type} "
            f"loads {policy_type!r} only; {advice}"
        )
    if found.get("use_peft"):
        adapter = file_inside(checkpoint, "adapter_config.json").is_file()
        merged = "has use_peft in config.json but no adapter_config.json; set use_peft to false there"
        raise ValueError(f"{checkpoint} {ADAPTER if adapter else merged}")
    POLICY_TYPES[policy_type].config(str(file), found)
    return file
