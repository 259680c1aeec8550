"""A run returns the base policy where steering is not confirmed to be better, and eval.py plays what was returned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from toys.algorithms import build_algorithm
from toys.guess import Guess
from toys.requests import request_of
from toys.runs import toy_parts

from dsrl.interfaces import Step
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.parts import Parts
from dsrl.run.config.request import check_returned
from dsrl.run.config.settings import GROUPS
from dsrl.run.evaluate import _loaded
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.train import steer

NOTHING_TYPED = OmegaConf.create({"plugins": [], "files": []})  # of what runs of others need


class Coin(Guess):
    """A task that no noise can influence: a world's seed alone decides."""

    def step(self, action: Tensor) -> Step:
        return super().step(self.target.sign() * ((self.target * 10).round().long() % 3 - 0.5))


def _parts(task: type[Guess]) -> Parts:
    parts = toy_parts()
    env = NoiseActionEnv(task(4, max_steps=2), parts.policy, parts.noise, horizon=2)
    settings = replace(parts.settings, confirm_episodes=64, video_episodes=0)
    return replace(parts, settings=settings, task=env.task, env=env, algorithm=build_algorithm("dsrl_sac", env))


def test_a_policy_that_was_lifted_is_returned_steered(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    steer(_parts(Guess), folder, {}, Screen())
    summary = json.loads(folder.summary.read_text())
    assert summary["returned"] == "steered"
    assert summary["confirmation"]["better"]
    assert summary["steered"]["success_rate"] > summary["base"]["success_rate"]


def test_a_policy_that_noise_cannot_lift_is_returned_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path)
    steer(_parts(Coin), folder, {}, Screen())
    summary = json.loads(folder.summary.read_text())
    assert summary["returned"] == "base"
    assert not summary["confirmation"]["better"]
    assert summary["confirmation"]["worlds"] == 64
    threshold = f"p = 1, which had to be below {summary['confirmation']['threshold']:.2g}); this run returns the base"
    assert threshold in " ".join(capsys.readouterr().out.split())


def test_eval_plays_the_returned_policy_unless_another_is_typed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    config = OmegaConf.to_yaml({group: {} for group in GROUPS})
    folder.write_configs({"config.yaml": config})
    folder.save("best", {"weights": torch.zeros(1)})
    for returned, checkpoint in (("base", "none"), ("steered", "best"), (None, "best")):
        folder.summary.write_text(json.dumps({} if returned is None else {"returned": returned}))
        request, *_, state = _loaded(request_of(tmp_path, checkpoint="returned"), NOTHING_TYPED)
        assert request.checkpoint == checkpoint
        assert (state is None) == (checkpoint == "none")
    folder.summary.write_text(json.dumps({"returned": "base"}))
    assert _loaded(request_of(tmp_path, checkpoint="best"), NOTHING_TYPED)[0].checkpoint == "best"


@pytest.mark.parametrize(("name", "value"), [("best_of", 8), ("stochastic", True)])
def test_an_option_of_the_steered_policy_is_refused_where_the_base_policy_was_returned(
    name: str, value: object, tmp_path: Path
) -> None:
    typed = {name: f"{name}={value}"}
    request = request_of(tmp_path, checkpoint="returned", **{name: value})
    with pytest.raises(ValueError, match=f"{name}={value} is not used with .*, which returned its base policy; type"):
        check_returned(request, typed, "base")
    for fine in ((request, {}, "base"), (request, typed, "steered"), (request, typed, None)):
        check_returned(*fine)
    check_returned(request_of(tmp_path, checkpoint="best", **{name: value}), typed, "base")
