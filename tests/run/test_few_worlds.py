"""Where seeds repeat the worlds of a task, no result claims more evidence than there are worlds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from toys.algorithms import build_algorithm
from toys.commands import CONF
from toys.few_worlds import FewGuesses
from toys.guess import Guess
from toys.requests import newest_evaluation, request_of
from toys.runs import toy_parts

from dsrl.evaluation.statistics import wilson
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.build import build, check_budget
from dsrl.run.components.few_worlds import fitted
from dsrl.run.components.parts import Parts
from dsrl.run.evaluate import evaluate_run
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.errors import UserError
from dsrl.run.train import steer
from dsrl.task.gym import GymTask


def _parts(announced: list[str]) -> Parts:
    """Return a run in the ten worlds of the toy, of which more episodes were typed."""
    parts = toy_parts()
    env = NoiseActionEnv(FewGuesses(4, max_steps=2), parts.policy, parts.noise, horizon=2)
    typed = replace(parts.settings, validation_episodes=8, confirm_episodes=64, decisions=400, video_episodes=0)
    settings = fitted(typed, env.task, announced.append)
    return replace(parts, settings=settings, task=env.task, env=env, algorithm=build_algorithm("dsrl_sac", env))


def test_a_run_says_that_worlds_repeat_what_it_plays_and_what_to_type() -> None:
    announced: list[str] = []
    settings = _parts(announced).settings
    assert (settings.eval_episodes, settings.validation_episodes, settings.confirm_episodes) == (10, 8, 10)
    assert announced == [
        "this task has 10 worlds, which seeds repeat: test worlds are not new, because training plays all of them; an "
        "evaluation plays each at most once (eval_episodes=10 instead of 20, confirm_episodes=10 instead of 64); "
        "type task.id=1 for another task"
    ]


def test_a_task_with_endless_worlds_plays_what_was_typed_and_nothing_is_said() -> None:
    class Endless(FewGuesses):
        num_worlds = None

    for task in (Guess(4), Endless(4)):
        announced: list[str] = []
        settings = toy_parts().settings
        assert fitted(settings, task, announced.append) is settings
        assert not announced


def test_few_worlds_are_announced_where_returns_are_compared_and_refused_where_no_stop_can_act() -> None:
    parts = _parts([])
    announced: list[str] = []
    check_budget(parts, announced.append)
    assert not any("mean returns" in sentence for sentence in announced)
    parts.env.has_success = False
    check_budget(parts, announced.append)
    assert any(sentence.startswith("confirm_episodes=10 are few for mean returns: ") for sentence in announced)
    stopping = replace(parts.settings, stop_on_collapse=True, eval_every=40)
    check_budget(replace(parts, settings=stopping), announced.append)
    assert "stop_on_collapse=true can act until validation 2 of about 9" in announced[-1]
    with pytest.raises(UserError, match="stop_on_collapse=true can never act with validation_episodes=6"):
        check_budget(replace(parts, settings=replace(stopping, validation_episodes=6)), announced.append)


def test_intervals_tests_and_confirmation_of_a_run_have_one_episode_per_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path)
    parts = _parts([])
    steer(parts, folder, {}, Screen())
    summary = json.loads(folder.summary.read_text())
    steered, pair = summary["steered"], summary["paired"]
    assert summary["num_worlds"] == 10
    assert (steered["episodes"], summary["base"]["episodes"]) == (10, 10)
    assert tuple(steered["ci95"]) == wilson(steered["successes"], 10)
    assert sum(pair[outcome] for outcome in ("both", "only_steered", "only_base", "neither")) == 10
    assert summary["confirmation"]["worlds"] <= 10
    text = " ".join(capsys.readouterr().out.split())
    assert "in 10 worlds of training, p =" in text
    assert "new worlds" not in text

    request = request_of(tmp_path, checkpoint="best", eval_episodes=256, test_seed=7)
    evaluate_run(parts, folder, request, folder.load("best"), Screen())
    evaluated = newest_evaluation(tmp_path)
    assert sorted(seed % 10 for seed in evaluated["worlds"]["seeds"]) == list(range(10))
    assert (evaluated["num_worlds"], evaluated["request"]["eval_episodes"]) == (10, 10)


def test_a_config_is_built_with_the_worlds_that_its_task_has(monkeypatch: pytest.MonkeyPatch) -> None:
    class Few(GymTask):  # one of its own: what is known of a protocol's classes is remembered
        num_worlds, other_worlds = 3, "type another task.id"

    Few.__module__ = GymTask.__module__  # where a _target_ has to be defined
    monkeypatch.setattr("dsrl.task.gym.GymTask", Few)
    with initialize_config_dir(str(CONF), version_base=None):
        cfg = compose("train", ["task=pendulum", "num_envs=2", "threads=1"])
    announced: list[str] = []
    parts = build(cfg, announced.append)
    assert parts.settings.eval_episodes == 3
    assert "this task has 3 worlds" in announced[-1]
    with pytest.raises(UserError, match=r"confirm_episodes=3 can .* the task has 3; type confirm_episodes=0 to return"):
        check_budget(parts, announced.append)
