"""The guards of training: a collapse is reported once and may stop it; a number that is not finite ends it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from toys.algorithms import build_algorithm
from toys.guess import Echo
from toys.runs import toy_parts

from dsrl.evaluation.collapse import check_stop, collapse
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.noise_sources import Act
from dsrl.interfaces import Encoding, Observation
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.train import steer


def _worlds(*solved: int, num: int = 20) -> Evaluation:
    successes = tuple(i in solved for i in range(num))
    return Evaluation(tuple(range(num)), successes, tuple(map(float, successes)), (1,) * num)


BASE = _worlds(*range(10))


def test_a_fall_below_the_base_that_chance_does_not_explain_is_a_collapse() -> None:
    best = _worlds(*range(16))
    sentence = collapse([_worlds(*range(12)), best, _worlds(*range(15)), _worlds(*range(6))], BASE)
    assert sentence == (
        "training has collapsed: validation success is 30%, below the base policy's 50%, after 80% at validation 2 "
        "(p = 0.002); the best checkpoint is unchanged"  # 10 worlds lost, none won: 2 / 2^10
    )


def test_a_collapse_whose_returns_rise_meanwhile_is_the_reward_s() -> None:
    """A reward per step that only failing episodes collect in full: learning raises what it is asked to raise."""
    best, latest = _worlds(*range(16)), replace(_worlds(*range(6)), returns=(3.0,) * 20)
    sentence = collapse([best, latest], BASE)
    assert sentence is not None
    expected = "is unchanged; the reward opposes success: the mean return rose from 0.800 to 3.0 meanwhile; let "
    assert expected in sentence
    fallen = collapse([best, replace(latest, returns=(0.5,) * 20)], BASE)
    assert fallen is not None
    assert fallen.endswith("is unchanged")


@pytest.mark.parametrize(
    ("before", "latest"),
    [
        (_worlds(*range(20)), _worlds(*range(12))),  # significant, but not below the base
        (_worlds(*range(12)), _worlds(*range(8))),  # 4 lost, none won: 2 / 2^4
        (_worlds(*range(4, 16)), _worlds(*range(4), *range(16, 20))),  # 12 lost, 8 won
        (_worlds(*range(5)), _worlds(*range(9))),  # rising
    ],
)
def test_less_than_that_is_no_collapse(before: Evaluation, latest: Evaluation) -> None:
    assert collapse([before, latest], BASE) is None


@pytest.mark.parametrize(("earlier", "lost"), [(1, 7), (3, 10), (5, 11), (39, 17)])
def test_all_validations_share_one_significance(earlier: int, lost: int) -> None:
    """2 / 2^lost is below 2 % divided by the pairs of validations, as 4 / 2^lost is not."""
    best = _worlds(*range(20))
    assert collapse([best] * earlier + [_worlds(*range(20 - lost))], best) is not None
    assert collapse([best] * earlier + [_worlds(*range(21 - lost))], best) is None


@pytest.mark.parametrize(("worlds", "last"), [(8, 2), (10, 5), (12, 9), (16, 36)])
def test_the_last_validation_is_named_that_so_few_worlds_let_stop_training(worlds: int, last: int) -> None:
    best, worst = _worlds(*range(worlds), num=worlds), _worlds(num=worlds)
    assert collapse([best] * (last - 1) + [worst], best) is not None
    assert collapse([best] * last + [worst], best) is None
    assert f"can act until validation {last} of about {last + 1}: " in str(check_stop(worlds, 2, last + 1))
    assert check_stop(worlds, 2, last) is None


def test_a_stop_that_never_acts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"with validation_episodes=6: .* type validation_episodes=7 or more, or stop"):
        check_stop(6, 2, 7)
    with pytest.raises(ValueError, match="; the task has 8; type stop_on_collapse=false"):
        check_stop(8, 3, 7, num_worlds=8)
    assert check_stop(7, 2, 2) is None


@pytest.mark.parametrize("earlier", [39, 45, 999])
def test_a_fall_of_returns_is_a_collapse_after_many_validations_too(earlier: int) -> None:
    """No p-value of 9,999 flips is below 2 % / 780, none of 99,999 below 2 % / 1,035."""
    best, worst = (replace(one, successes=None) for one in (_worlds(*range(40), num=40), _worlds(num=40)))
    assert collapse([best] * earlier + [worst], best) is not None
    partly = replace(best, returns=(0.0,) * 24 + (2.0,) * 15 + (1.0,))  # 24 worlds of 39 lost: p = 0.1
    assert collapse([best] * earlier + [partly], replace(best, returns=(2.0,) * 40)) is None


def test_a_collapse_needs_an_earlier_validation_and_a_base_and_may_be_one_of_returns() -> None:
    best, worst = _worlds(*range(20)), _worlds()
    assert collapse([worst], BASE) is None
    assert collapse([best, worst], None) is None
    assert collapse([best, worst], BASE) is not None
    without = [replace(one, successes=None) for one in (best, worst, BASE)]
    assert "validation mean return is 0.0, below the base policy's 0.500" in str(collapse(without[:2], without[2]))
    assert collapse([without[0], without[0]], without[2]) is None


@pytest.mark.parametrize("stop", [True, False])
def test_a_collapse_is_reported_once_and_stops_training_where_the_settings_say_so(
    stop: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validations = [BASE, BASE, _worlds(*range(20)), _worlds(), _worlds()]  # the second is that of w = 0
    parts, folder, text = toy_parts(), RunFolder(tmp_path), io.StringIO()
    parts = replace(parts, settings=replace(parts.settings, stop_on_collapse=stop, video_episodes=0))
    states = []

    def scripted(env: NoiseActionEnv, act: Act, *, episodes: int, first_seed: int) -> Evaluation:
        assert (episodes, first_seed) == (parts.settings.validation_episodes, parts.settings.validation_seed)
        states.append(folder.checkpoint_sha256("best"))
        env.reset()
        return validations[len(states) - 1]

    monkeypatch.setattr("dsrl.run.monitor.evaluate", scripted)
    steer(parts, folder, {}, Screen(Console(file=text, soft_wrap=True)))
    summary = json.loads(folder.summary.read_text())
    assert summary["decisions"] == (400 if stop else 600)
    assert text.getvalue().count("training has collapsed") == 1
    assert summary["collapse"].startswith("training has collapsed: validation success is 0%")
    assert folder.checkpoint_sha256("best") == states[3] != folder.checkpoint_sha256("last")


def test_a_number_that_is_not_finite_leaves_earlier_checkpoints_and_names_them(tmp_path: Path) -> None:
    folder, parts = RunFolder(tmp_path), toy_parts()

    class EchoUntilTheFirstCheckpoint(Echo):
        def encode(self, observation: Observation) -> Encoding:
            offset = float("nan") if folder.checkpoint_sha256("last") else 0.0
            return Encoding(observation.state + offset, {})

    policy = EchoUntilTheFirstCheckpoint()
    env = NoiseActionEnv(parts.task, policy, parts.noise, parts.env.horizon)
    with (
        pytest.raises(FloatingPointError, match=r"features of world \[0, 1, 2, 3\] is not finite") as caught,
        folder.noting_failure(),
    ):
        steer(replace(parts, policy=policy, env=env), folder, {}, Screen())
    assert caught.value.__notes__ == [f"checkpoints saved before this error in {tmp_path}/checkpoints: best and last"]
    assert caught.value.__notes__[0] in folder.failure.read_text()
    for name in ("best", "last"):
        algorithm = build_algorithm("dsrl_sac", env, seed=1)
        algorithm.load_state_dict(folder.load(name))
        assert all(torch.isfinite(value).all() for value in algorithm.policy.state_dict().values())
