"""An MLP's checkpoint whose files are damaged, nonsensical or huge ends in one sentence, soon and in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from policy.checkpoints import edit, refusal
from policy.damage import DAMAGED_JSON, HUGE, STORED
from toys.mlp_checkpoints import load as load_mlp
from toys.mlp_checkpoints import make_mlp_checkpoint

pytestmark = pytest.mark.usefixtures("little_memory")

MLP: dict[str, dict[str, Any]] = {
    "huge_hidden": {"hidden": HUGE},
    "lying_hidden": {"hidden": 8192},
    "huge_chunk": {"chunk": HUGE},
    "lying_chunk": {"chunk": 1024},
    "huge_depth": {"depth": HUGE},
    "lying_depth": {"depth": 128},
    "a_string": {"hidden": "32"},
    "true": {"depth": True},
    "a_fraction": {"chunk": 4.0},
    "huge_num_steps": {"num_steps": HUGE},
    "no_num_steps": {"num_steps": None},
    "many_dimensions": {"state_mean": [0.0] * 5000, "state_std": [1.0] * 5000},
    "a_string_as_mean": {"state_mean": ["a", 0, 0]},
    "a_mapping_as_mean": {"state_mean": {"0": 1}},
    "a_number_as_mean": {"state_mean": 3},
    "no_dimension": {"state_mean": [], "state_std": []},
    "nan": {"state_mean": [float("nan"), 0, 0]},
    "infinity": {"action_high": [float("inf"), 1]},
    "huge_mean": {"state_mean": [1e200, 0, 0]},
    "other_kind": {"policy": ["flow_mlp"]},
    "a_path": {"policy": "../flow_mlp"},
    "unknown_key": {"weights": "/etc/passwd"},
}


def refused_mlp(folder: Path, kind: str) -> str:
    return refusal(folder, lambda path: load_mlp(kind, Path(path), None))


@pytest.mark.parametrize("kind", ["flow_mlp", "diffusion_mlp"])
@pytest.mark.parametrize("change", MLP)
def test_a_value_that_no_mlp_has_is_refused(change: str, kind: str, canary: Path, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "mlp", kind)
    edit(folder / "config.json", lambda saved: saved.update(MLP[change]))
    refused_mlp(folder, kind)


@pytest.mark.parametrize("levels", [None, 0, "12", HUGE])
def test_levels_that_no_diffusion_has_are_refused(levels: Any, canary: Path, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "mlp", "diffusion_mlp")
    edit(folder / "config.json", lambda saved: saved.update(train_steps=levels))
    assert "train_steps" in refused_mlp(folder, "diffusion_mlp")


@pytest.mark.parametrize("damage", DAMAGED_JSON)
def test_a_damaged_configuration_of_an_mlp_is_refused(damage: str, canary: Path, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "mlp", "flow_mlp")
    (folder / "config.json").write_bytes(DAMAGED_JSON[damage])
    refused_mlp(folder, "flow_mlp")


@pytest.mark.parametrize("damage", STORED)
def test_damaged_weights_of_an_mlp_are_refused(damage: str, canary: Path, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "mlp", "flow_mlp")
    STORED[damage](folder / "model.safetensors")
    refused_mlp(folder, "flow_mlp")
