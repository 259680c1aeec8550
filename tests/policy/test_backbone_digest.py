"""A backbone's sizes and tokenizer move chunks as weights do, wherever they lie: they have a digest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from policy.checkpoints import edit
from toys.tiny_diffusion import make_tiny_diffusion
from toys.tiny_dit import make_tiny_dit
from toys.tiny_eo1 import make_tiny_eo1
from toys.tiny_pi import make_tiny_pi, small_sizes
from toys.tiny_smolvla import make_tiny_checkpoint

from dsrl.policy.lerobot import load_policy

MAKE: dict[str, Callable[[Path], Path]] = {
    "multi_task_dit": make_tiny_dit,
    "eo1": make_tiny_eo1,
    "pi0": partial(make_tiny_pi, kind="pi0"),
    "smolvla": make_tiny_checkpoint,
}
SIZES: dict[str, dict[str, dict[str, Any]]] = {  # part of the backbone's config.json -> another value
    "multi_task_dit": {"text_config": {"hidden_act": "gelu"}, "vision_config": {"hidden_act": "gelu"}},
    "smolvla": {"text_config": {"rms_norm_eps": 0.1}, "vision_config": {"layer_norm_eps": 0.1}},
}


def load(folder: Path) -> Any:
    with small_sizes():
        return load_policy(str(folder), "cpu", "checkpoint")


@pytest.mark.parametrize("kind", MAKE)
def test_a_changed_backbone_or_tokenizer_has_another_digest(kind: str, tmp_path: Path) -> None:
    folder = MAKE[kind](tmp_path / "x")
    expected = load(folder)
    shutil.copytree(folder, tmp_path / "again")
    (again,) = (tmp_path / "again").rglob("tokenizer.json")
    again.with_name("special_tokens_map.json").write_text("{}")  # a file that another copy may lack
    assert load(tmp_path / "again").backbone_sha256() == expected.backbone_sha256()

    def swap(saved: Any) -> None:
        words = saved["model"]["vocab"]
        words["pick"], words["up"] = words["up"], words["pick"]

    changes = [("tokenizer.json", swap)]
    for part, values in SIZES.get(kind, {}).items():
        changes.append(("config.json", lambda saved, part=part, values=values: saved[part].update(values)))
    (tokenizer,) = folder.rglob("tokenizer.json")
    for name, change in changes:
        file = tokenizer.with_name(name)
        whole = file.read_text()
        edit(file, change)
        found = load(folder)
        file.write_text(whole)
        assert found.backbone_sha256() != expected.backbone_sha256(), name
        assert found.policy_sha256() == expected.policy_sha256()
        assert found.configuration_sha256() == expected.configuration_sha256()


def test_a_policy_without_a_backbone_has_no_digest_of_one(tmp_path: Path) -> None:
    assert load(make_tiny_diffusion(tmp_path / "x")).backbone_sha256() is None
