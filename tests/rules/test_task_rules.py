"""What a task returns is checked at each call; a task that returns something else is named with its method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from toys.countdown import CountdownTask, EchoPolicy

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv


class Altered(CountdownTask):
    """The countdown with one method whose result is altered on its way out."""

    def __init__(
        self, method: str = "", change: Callable[[Any], Any] = lambda found: found, max_steps: int = 6
    ) -> None:
        super().__init__(3, max_steps)
        self.method, self.change = method, change

    def observe(self):
        return self._altered("observe", super().observe())

    def step(self, action):
        return self._altered("step", super().step(action))

    def hold(self):
        return self._altered("hold", super().hold())

    def _altered(self, method: str, found: Any) -> Any:
        return self.change(found) if method == self.method else found


class Rowwise(Altered):
    """The same, observed row by row."""

    def observe_rows(self, rows):
        return self._altered("observe_rows", super().observe()[rows])


def played(task: Altered) -> NoiseActionEnv:
    """Play worlds that would succeed at their steps 7, 8 and 9, beyond the countdown's last."""
    env = NoiseActionEnv(task, EchoPolicy(), FullNoise((4, 2), 1.5, None), horizon=4)
    env.reset_worlds(torch.arange(3), [7, 8, 9])
    for _ in range(2):
        env.decide(torch.full((3, 4, 2), 0.5), torch.arange(3))
    return env


IMAGE = torch.zeros(3, 2, 2, 3, dtype=torch.uint8)
WRONG: dict[str, tuple[str, Callable[[Any], Any]]] = {
    r"returned builtins.tuple; return a Step": ("step", lambda step: tuple(vars(step).values())),
    r"returned reward \[1\] of float but 3 worlds make .* \[3\] of float": (
        "step", lambda step: replace(step, reward=step.reward[:1])),
    r"returned reward \[\] of float but": ("step", lambda step: replace(step, reward=step.reward.mean())),
    r"returned reward \[3\] of int64 but": ("step", lambda step: replace(step, reward=step.reward.long())),
    r"returned terminated \[3\] of float but 3 worlds make a torch tensor \[3\] of bool": (
        "step", lambda step: replace(step, terminated=step.terminated.float())),
    r"returned truncated numpy.ndarray \[3\] but": (
        "step", lambda step: replace(step, truncated=step.truncated.numpy())),
    r"returned success None but has_success is True; correct": ("step", lambda step: replace(step, success=None)),
    r"returned builtins.NoneType; return an Observation": ("observe", lambda seen: None),
    r"returned state \[3, 1\] of float but 3 worlds and state_dim make .* \[3, 2\]": (
        "observe", lambda seen: replace(seen, state=seen.state[:, :1])),
    r"returned images builtins.NoneType but cameras are \[\]; return": (
        "observe", lambda seen: replace(seen, images=None)),
    r"returned images \['top'\] but cameras are \[\]; return": (
        "observe", lambda seen: replace(seen, images={"top": IMAGE})),
    r"returned instruction None but 3 worlds take a tuple of 3 texts": (
        "observe", lambda seen: replace(seen, instruction=None)),
    r"returned instruction \('',\) but": ("observe", lambda seen: replace(seen, instruction=("",))),
    r"returned builtins.NoneType but 3 worlds and action_dim make a torch tensor \[3, 2\]": ("hold", lambda held: None),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WRONG)
def test_what_a_task_returns_instead_is_named_with_its_method(sentence: str) -> None:
    method, change = WRONG[sentence]
    with pytest.raises(ValueError, match=rf"^task Altered\.{method} {sentence}"):
        played(Altered(method, change))


def test_rows_that_are_observed_alone_are_checked_too() -> None:
    with pytest.raises(
        ValueError, match=r"^task Rowwise.observe_rows returned state \[3, 1\] of float but 3 worlds and"
    ):
        played(Rowwise("observe_rows", lambda seen: replace(seen, state=seen.state[:, :1])))


def test_an_image_is_channels_first_and_of_bytes() -> None:
    task = Altered("observe", lambda seen: replace(seen, images={"top": IMAGE}))
    task.cameras = {"top": (3, 2, 2)}
    with pytest.raises(
        ValueError, match=r"returned image 'top' \[3, 2, 2, 3\] of uint8 but .* \[3, 3, 2, 2\] of uint8"
    ):
        played(task)


def test_a_success_without_has_success_is_refused() -> None:
    task = Altered()
    task.has_success = False
    with pytest.raises(ValueError, match=r"returned success a tensor \[3\] but has_success is False; correct"):
        played(task)


def test_an_episode_longer_than_max_steps_is_refused() -> None:
    task = Altered("step", lambda step: replace(step, truncated=torch.zeros(3, dtype=torch.bool)))
    with pytest.raises(
        ValueError, match=r"^task Altered.step has not ended .* world \[0, 1, 2\] within its max_steps=6;"
    ):
        played(task)


@pytest.mark.parametrize("kind", [torch.int64, torch.float64])
def test_a_hold_of_another_type_leaves_the_actions_as_they_are(kind: torch.dtype) -> None:
    env = played(Altered("hold", lambda held: held.to(kind)))
    assert [actions[0, 0].item() for actions in env.task.actions] == [0.5] * 4 + [4.5] * 2
    assert env.ended.all()
