"""Members of task, policy and noise that are missing, or of another kind, are told when a part is built."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from toys.complaints import composed
from toys.countdown import CountdownTask, EchoPolicy
from toys.guess import Echo
from toys.runs import RestorableGuess, short_parts

from dsrl.interfaces import Noise, Policy, Task
from dsrl.noise.full import FullNoise
from dsrl.run.components import build
from dsrl.run.components.final_evaluation import build_simulation
from dsrl.run.components.members import check_digest, check_members
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.errors import UserError

PARTS: dict[type, Callable[[], Any]] = {
    Task: lambda: CountdownTask(2),
    Policy: EchoPolicy,
    Noise: lambda: FullNoise((4, 2), 1.5, None),
}


@pytest.mark.parametrize(
    ("protocol", "member", "value", "sentence"),
    [
        (Task, "max_steps", 6.5, "task CountdownTask has max_steps=6.5 but it must be max_steps: int, as Task in"),
        (Task, "cameras", {"top": (3, 8)}, "cameras={'top': (3, 8)} but it must be cameras: Mapping[str, tuple["),
        (Task, "has_success", 1, "has has_success=1 but it must be has_success: bool"),
        (Task, "hold", None, "task CountdownTask has no method hold; add it, as Task in dsrl/interfaces.py declares"),
        (Policy, "noise_shape", (8,), "policy EchoPolicy has noise_shape=(8,) but it must be noise_shape: tuple[int,"),
        (Policy, "chunk_shape", (4, 2.0), "has chunk_shape=(4, 2.0) but it must be"),
        (Policy, "decode", None, "policy EchoPolicy has no method decode; add it"),
        (Noise, "magnitude", "1.5", "noise FullNoise has magnitude='1.5' but it must be magnitude: float"),
        (Noise, "dim", True, "noise FullNoise has dim=True but it must be dim: int"),
        (
            Task,
            "action_low",
            torch.zeros(2),
            "has no attribute action_high; rename action_low, or add action_high: Te",
        ),
        (
            Task,
            "num_worlds",
            3,
            "has no attribute other_worlds; rename num_worlds, or add other_worlds: str, as FewWo",
        ),
        (Task, "fps", "10", "has fps='10' but it must be fps: float | None, as HasFps in dsrl/run/components/parts.py"),
        (Task, "state_dict", lambda: None, "no method load_state_dict; rename state_dict, or add it, as Restorable in"),
        (Policy, "default_horizon", 2.0, "has default_horizon=2.0 but it must be default_horizon: int"),
        (Policy, "remarks", "one remark", "has remarks='one remark' but it must be remarks: Sequence[str]"),
        (Policy, "device", 0, "has device=0 but it must be device: torch.device, as HasDevice in dsrl/interfaces.py"),
        (Noise, "draws_per_world", 1.5, "has draws_per_world=1.5 but it must be draws_per_world: int, as MeasuresN"),
    ],
)
def test_a_member_of_another_kind_is_told(protocol: type, member: str, value: Any, sentence: str) -> None:
    part = PARTS[protocol]()
    check_members(part, protocol)
    setattr(part, member, value)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        check_members(part, protocol)


def test_bounds_of_actions_are_tensors_and_other_abilities_take_what_works() -> None:
    task, policy = CountdownTask(2), EchoPolicy()
    task.fps, task.num_worlds, task.other_worlds, task.picture = 12.5, None, "type task.id=1", None
    policy.device, policy.remarks, policy.default_horizon = "cpu", ["a", "b"], np.int64(2)
    check_members(task, Task)
    check_members(policy, Policy)
    task.action_low = task.action_high = np.zeros(2)
    with pytest.raises(ValueError, match=r"has action_low=array\(.* must be action_low: Tensor, as BoundedActions in"):
        check_members(task, Task)


def test_numbers_and_arrays_of_numpy_lists_and_sizes_of_torch_are_of_the_declared_kinds() -> None:
    policy = EchoPolicy()
    policy.noise_shape, policy.chunk_shape = torch.zeros(4, 2).shape, [np.int64(4), np.int64(2)]
    check_members(policy, Policy)
    policy.noise_shape = np.array([4, 2])
    check_members(policy, Policy)


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        ("dsrl.task.gym.GymTask.hold", "task GymTask has no method hold"),
        ("dsrl.policy.identity.IdentityPolicy.decode", "policy IdentityPolicy has no method decode"),
        ("dsrl.noise.full.FullNoise.expand", "noise FullNoise has no method expand"),
    ],
)
def test_a_run_is_refused_before_anything_plays(member: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, None)
    with pytest.raises(UserError, match=f"^{sentence}; add it, as "):
        build.build(composed("task=pendulum", "policy=identity", "noise=full"), print)


@pytest.mark.parametrize(
    ("digests", "sentence"),
    [
        ([None, None], "returned None but it must be the SHA-256 of the weights as 64 hexadecimal digits; return"),
        ([b"1" * 64] * 2, "returned b'1111"),
        (["v1", "v1"], "returned 'v1' but"),
        (["0" * 64, "1" * 64], "returned two digests of the same weights; compute it from the weights alone"),
    ],
)
def test_a_digest_is_text_and_the_same_each_time(digests: list[Any], sentence: str) -> None:
    policy, left = Echo(), iter(digests)
    check_digest(policy)
    policy.policy_sha256 = lambda: next(left)
    with pytest.raises(ValueError, match=re.escape(f"policy Echo.policy_sha256 {sentence}")):
        check_digest(policy)


def test_a_file_that_a_class_of_another_package_does_not_find_is_told_with_the_class() -> None:
    with pytest.raises(FileNotFoundError, match=r"^io.open did not find a file \(.*weights.bin'\); put the file there"):
        build._instantiate(OmegaConf.create({"_target_": "io.open", "file": "weights.bin"}))


class InNumpy(RestorableGuess):
    """A task whose state no checkpoint takes."""

    def state_dict(self) -> dict[str, Any]:
        return {"target": self.target.numpy()}


def test_a_state_that_no_checkpoint_takes_is_told_when_the_simulation_has_started() -> None:
    sentence = r"task InNumpy cannot be saved in mid-episode: .* not ndarray \(at state_dict\(\)/target\); return torch"
    with pytest.raises(ValueError, match=sentence):
        build_simulation(short_parts("dsrl_sac", InNumpy), Screen())
