"""Saved worlds that somebody changed set no method, simulator or index: one sentence, and the world goes on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dsrl.task._genesis_indices import check_indices, own_state
from dsrl.task.gym import GymTask

REPEATED = {"of": {"array": torch.zeros(4)}, "offset": 0, "shape": [10**12], "strides": [0]}
FAR = {"of": {"array": torch.zeros(4)}, "offset": 10**9, "shape": [4], "strides": [4]}
ATTRIBUTES: dict[str, tuple[dict[str, Any], str]] = {  # of the innermost layer, words of the refusal
    "a method": ({"step": {"plain": 1}}, "sets 'step', which is no state of PendulumEnv"),
    "a class": ({"__class__": {"plain": 1}}, "sets '__class__'"),
    "a space": ({"action_space": {"plain": None}}, "sets 'action_space'"),
    "a specification": ({"spec": {"plain": 1}}, "sets 'spec'"),
    "a simulator": ({"state": {"mujoco": {}}}, "sets 'state'"),
    "a generator": ({"_np_random": {"plain": 1}}, "that is no random generator"),
    "an object not met": ({"x": {"same": 99}}, "IndexError"),
    "a view that repeats": ({"x": {"part": REPEATED}}, "more numbers than its array"),
    "a view of other memory": ({"x": {"part": FAR}}, "size of buffer"),
    "nothing packed": ({"x": {"list": 1}}, "TypeError"),
}
ARRAYS: tuple[tuple[str, Any], ...] = (  # of MuJoCo
    ("places", {"jnt_qposadr": torch.tensor([2**29, 2**29], dtype=torch.int32)}),
    ("places", {"body_mass": torch.zeros(2)}),
    ("places", {"body_mass": torch.zeros(3)}),
    ("options", {"_address": torch.tensor(1.0)}),
    ("buffers", {"model": torch.zeros(1)}),
    ("integration", torch.zeros(1, dtype=torch.float64)),
)


def begun(id: str) -> tuple[GymTask, dict[str, Any]]:
    """Return a world and its state."""
    task = GymTask(id, num_envs=1, max_steps=9)
    task.reset(torch.arange(1), seeds=[3])
    state = task.state_dict()
    assert state is not None
    return task, state


@pytest.mark.parametrize("change", ATTRIBUTES)
def test_attributes_that_no_world_has_are_refused(change: str) -> None:
    task, state = begun("Pendulum-v1")
    attributes, words = ATTRIBUTES[change]
    state["worlds"][0][-1].update(attributes)
    with pytest.raises(ValueError, match=words):
        task.load_state_dict(state)
    task.step(task.hold())


def test_flags_of_other_worlds_are_refused() -> None:
    task, state = begun("Pendulum-v1")
    with pytest.raises(ValueError, match="but this task"):
        task.load_state_dict({**state, "flags": [torch.zeros(2, dtype=torch.bool)] * 4})


@pytest.mark.parametrize("number", range(len(ARRAYS)))
def test_arrays_that_mujoco_follows_are_refused(number: int) -> None:
    task, state = begun("InvertedPendulum-v5")
    found, (group, change) = state["worlds"][0][-1]["data"]["mujoco"], ARRAYS[number]
    found[group] = change if isinstance(change, Tensor) else {**found[group], **change}
    with pytest.raises(ValueError, match="MuJoCo's"):
        task.load_state_dict(state)


def test_whole_numbers_that_checkpoints_of_earlier_versions_have_are_passed_over() -> None:
    task, state = begun("InvertedPendulum-v5")
    (data,) = (layer.data for layer in [task._envs[0].unwrapped])
    before = data.moment_colind.copy()
    buffers = state["worlds"][0][-1]["data"]["mujoco"]["buffers"]
    assert "moment_colind" not in buffers
    buffers["moment_colind"] = torch.full(before.shape, 2**29, dtype=torch.int32)
    task.load_state_dict(state)
    assert (data.moment_colind == before).all()


SCENE = {
    "dyn_info.links.q_start": torch.tensor([0, 7], dtype=torch.int32),
    "dyn_state.links.is_hibernated": torch.zeros(2, 1, dtype=torch.int32),
    "collider_state.contact_data.link_a": torch.tensor([[-1], [1]], dtype=torch.int32),
    "collider_state.n_contacts": torch.tensor([1], dtype=torch.int32),
    "collider_state.contact_sort_idx": torch.tensor([[1], [0], [0]], dtype=torch.int32),
    "qpos": torch.zeros(3),
}


@pytest.mark.parametrize(("name", "largest"), [("q_start", 7), ("link_a", 1), ("n_contacts", 3), ("sort_idx", 2)])
def test_indices_of_a_scene_stay_in_it(name: str, largest: int) -> None:
    (name,) = (one for one in SCENE if one.endswith(name))
    for change, fits in ((largest, True), (largest + 1, False), (-2, False)):
        saved = {**SCENE, name: SCENE[name].clone()}
        saved[name].view(-1)[-1] = change
        if fits:
            check_indices({"Rigid": saved}, {"Rigid": SCENE})
        else:
            with pytest.raises(ValueError, match=f"{name} of the scene"):
                check_indices({"Rigid": saved}, {"Rigid": SCENE})


def test_arrays_of_another_scene_are_refused() -> None:
    with pytest.raises(ValueError, match="other arrays"):
        check_indices({"Rigid": {}}, {"Rigid": SCENE})
    with pytest.raises(ValueError, match="has not the shape"):
        check_indices({"Rigid": {**SCENE, "qpos": torch.zeros(2)}}, {"Rigid": SCENE})


def test_an_instruction_names_a_cube_of_the_task() -> None:
    state = {"elapsed": torch.zeros(2), "target": torch.zeros(2, 4), "named": torch.tensor([0, 3])}
    with pytest.raises(ValueError, match="names a cube"):
        own_state(state, (2, 4), 3)
    with pytest.raises(ValueError, match="not of 3 worlds"):
        own_state(state, (3, 4), 3)
