"""Offline data from real LeRobotDatasets: how they are cut, their transitions in replay, and that they steer."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess
from toys.runs import Killed, results, run, toy_parts

from dsrl.interfaces import Encoding, Observation
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.parts import Parts
from dsrl.run.components.recorded_data import other_sentences, with_offline_data
from dsrl.run.monitor import Monitor
from dsrl.run.terminal import console
from dsrl.run.terminal.errors import UserError
from dsrl.run.terminal.signals import Signals, Stopped
from dsrl.training.offline_data import OfflineData
from dsrl.training.offline_episodes import cut_episode
from dsrl.training.replay_buffer import Replay
from dsrl.training.replay_format import ReplayDecoder
from scripts.collect_rollouts import collect

EPISODES = 32
pytestmark = pytest.mark.usefixtures("in_this_process")


class Numbers(Guess):
    """The guessing task without its camera."""

    def __init__(self, num_envs: int, max_steps: int) -> None:
        super().__init__(num_envs, max_steps)
        self.cameras = {}

    def observe(self) -> Observation:
        observation = super().observe()
        return Observation(observation.state, {}, observation.instruction)


def parts_of(task: Guess | None = None, **changes: Any) -> Parts:
    """Return DSRL-NA on the guessing task, with settings changed."""
    parts = toy_parts()
    task = task or Numbers(4, max_steps=4)
    env = NoiseActionEnv(task, Echo(), parts.noise, horizon=2)
    algorithm = build_algorithm("dsrl_na", env, alpha=0.01, noise_critic_grad_steps=4)
    settings = replace(parts.settings, video_episodes=0, **changes)
    named = {"offline_data": settings.offline_data}
    return replace(parts, task=task, env=env, algorithm=algorithm, settings=settings, identity={"seed": 0, **named})


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rollouts") / "guess"
    steps, score = collect(parts_of(), folder, EPISODES, seed=1)
    assert EPISODES <= steps <= 4 * EPISODES
    assert 0.5 < score < 1.0
    return folder


def columns(**values: Any) -> dict[str, Any]:
    """Five frames whose action is their number."""
    named = {f"next.{name}": np.array(value) for name, value in values.items()}
    return {"action": np.arange(5, dtype=np.float32)[:, None], **named}


def test_a_demonstration_without_rewards_succeeds_with_its_last_frame() -> None:
    transitions = cut_episode(columns(), horizon=2, first=10)
    assert [(one.before, one.after) for one in transitions] == [(10, 12), (12, 14), (14, 14)]
    assert [one.chunk[:, 0].tolist() for one in transitions] == [[0, 1], [2, 3], [4, 4]]
    assert [(one.reward, one.terminated, one.truncated) for one in transitions] == [
        (0, False, False),
        (0, False, False),
        (1, True, False),
    ]
    assert [one.env_steps for one in transitions] == [2, 2, 1]


def test_an_episode_is_cut_off_at_its_first_success_and_one_without_runs_out_of_time() -> None:
    won = cut_episode(columns(success=[False, False, True, True, True]), horizon=2)
    assert [(one.before, one.after, one.reward, one.terminated) for one in won] == [(0, 2, 0, False), (2, 2, 1, True)]
    assert won[-1].chunk[:, 0].tolist() == [2, 2]
    lost = cut_episode(columns(success=[False] * 5), horizon=4)
    assert [(one.before, one.after, one.reward) for one in lost] == [(0, 4, 0), (4, 4, 0)]
    assert [(one.terminated, one.truncated) for one in lost] == [(False, False), (False, True)]


@pytest.mark.parametrize("truncated", [False, True])
def test_rewards_are_summed_over_a_chunk_and_done_is_a_termination_unless_it_is_truncated(truncated: bool) -> None:
    done = [False, False, False, False, True]
    transitions = cut_episode(columns(reward=[1.0, 2.0, 3.0, 4.0, 5.0], done=done, truncated=[*done[:4], truncated]), 3)
    assert [(one.reward, one.terminated, one.truncated) for one in transitions] == [
        (6.0, False, False),
        (9.0, not truncated, truncated),
    ]


@pytest.mark.parametrize(
    ("told", "has_success", "terminated", "succeeded"),
    [
        ({}, False, True, True),  # a demonstration
        ({"success": True, "done": True, "truncated": False}, True, True, True),
        ({"success": True, "done": True, "truncated": True}, True, True, True),  # with its last step
        ({"success": False, "done": True, "truncated": False}, True, True, False),  # it fell
        ({"success": False, "done": True, "truncated": True}, True, False, False),
        ({"success": False, "done": True}, True, False, False),  # it fell, or its time was over
        ({"done": True, "reward": 1.0}, True, True, True),
        ({"done": True, "reward": 0.0}, True, True, False),
        ({"done": True, "reward": 1.0}, False, True, False),  # as in Hopper, which is paid until it falls
        ({"done": True}, True, True, True),
        ({"done": False, "reward": 1.0}, True, False, False),
    ],
)
def test_an_end_is_a_success_only_where_the_columns_say_so(
    told: dict[str, float], has_success: bool, terminated: bool, succeeded: bool
) -> None:
    still = {"success": False, "done": False, "truncated": False, "reward": 0.0}
    last = cut_episode(
        columns(**{name: [still[name]] * 4 + [value] for name, value in told.items()}), 2, 0, has_success
    )
    assert [one.success for one in last] == [False, False, succeeded]
    assert (last[-1].terminated, last[-1].truncated) == (terminated, not terminated)
    assert last[-1].reward == told.get("reward", float(terminated and told.get("success", True)))


def test_offline_data_enter_replay_as_play_does_but_without_noise(rollouts: Path) -> None:
    parts = parts_of()
    env, offline = parts.env, OfflineData(str(rollouts), parts.env)
    buffer = Replay(8, 4, seed=0, offline=len(offline))
    offline.write("context", buffer)
    assert len(buffer) == len(offline)
    stored = buffer[buffer.sample_indices(0)]
    assert np.isnan(stored.act).all()
    first = np.concatenate([[True], stored.done[:-1]])
    env.seed(1)
    for seed, row in zip(env.draw_seeds(EPISODES), np.flatnonzero(first), strict=True):
        features, _ = env.reset([0], [seed])
        np.testing.assert_array_equal(stored.obs[row], features[0])
        noise = torch.as_tensor(stored.info.chunk[row])[None]  # Echo's chunk is its noise
        outcome = env.decide(noise, torch.tensor([0]))
        expected = [
            outcome.reward.item(),
            outcome.terminated.item(),
            outcome.truncated.item(),
            outcome.env_steps.item(),
        ]
        found = [stored.rew[row], stored.terminated[row], stored.truncated[row], stored.info.env_steps[row]]
        assert found == expected
        if not outcome.terminated[0]:
            np.testing.assert_array_equal(stored.obs_next[row], env.encoding.features[0].numpy())


def test_dsrl_na_learns_from_offline_data_alone(
    rollouts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"offline_data": str(rollouts), "offline_updates": 150, "decisions": 0, "warmup_decisions": 0}
    parts = with_offline_data(parts_of(Numbers(4, max_steps=2), **changes, eval_every=100), print)
    run(tmp_path, parts)
    validations = re.findall("validation after (.*):", capsys.readouterr().out)
    assert validations[0] == "0 decisions, before any learning"
    assert all(re.fullmatch("0 decisions and [0-9]+ gradient steps", one) for one in validations[1:])
    assert len(set(validations)) == 3
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["decisions"], summary["env_steps"], summary["training_episodes"]) == (0, 0, 0)
    assert summary["steered"]["success_rate"] > summary["base"]["success_rate"] + 0.15
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len([row for row in rows if "eval/success_rate" in row]) == 3  # before, and after 100 and 150 updates


def test_the_live_line_counts_updates_while_nothing_is_played(
    rollouts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "PLAIN_INTERVAL", 0.0)
    changes = {"offline_data": str(rollouts), "offline_updates": 8, "decisions": 16, "warmup_decisions": 8}
    run(tmp_path, with_offline_data(parts_of(Numbers(4, max_steps=2), **changes, eval_every=100), print))
    counted = re.findall(r"training: (\d+)/(\d+) (\w+)", capsys.readouterr().out)
    assert counted == [
        *[(str(done), "16", "decisions") for done in (4, 8)],
        *[(str(done), "8", "updates") for done in (4, 8)],
        *[(str(done), "16", "decisions") for done in (12, 16)],
    ]


def test_offline_data_stay_in_replay_and_a_killed_run_ends_like_one_that_is_not(
    rollouts: Path,
    tmp_path: Path,
    killed: Callable[[int, str], None],
) -> None:
    changes = {"offline_data": str(rollouts), "offline_updates": 8, "offline_share": 0.5}
    budget = {"decisions": 40, "warmup_decisions": 8, "eval_every": 20, "validation_episodes": 4, "eval_episodes": 4}
    parts = [with_offline_data(parts_of(**changes, **budget), print) for _ in range(7)]
    run(tmp_path / "whole", parts.pop())
    ended = False
    while not ended:  # each process dies of the first checkpoint that it writes
        killed(1, "after")
        try:
            run(tmp_path / "cut", parts.pop())
            ended = True
        except Killed:
            pass
    assert len(parts) < 3
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_a_signal_stops_updates_without_play_and_nothing_is_lost(
    rollouts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"offline_data": str(rollouts), "offline_updates": 24, "offline_share": 0.5}
    budget = {"decisions": 40, "warmup_decisions": 8, "eval_every": 20, "validation_episodes": 4, "eval_episodes": 4}
    parts = [with_offline_data(parts_of(**changes, **budget), print) for _ in range(3)]
    run(tmp_path / "whole", parts.pop())
    numbers = sorted(int(path.name) for path in (tmp_path / "whole" / "resume").iterdir())
    assert numbers == [8, 8 + 20, 8 + 24, 20 + 24, 40 + 24]  # decisions and updates without play: none is replaced
    signals, show_updates = Signals(), Monitor.show_updates

    def requesting(self: Monitor, done: int, recent: Any) -> None:
        show_updates(self, done, recent)
        if done == 12:
            signals.requested = signal.SIGTERM

    monkeypatch.setattr(Monitor, "show_updates", requesting)
    with pytest.raises(Stopped):
        run(tmp_path / "cut", parts.pop(), signals)
    assert "continues from 8 decisions and 12 updates without play" in capsys.readouterr().out
    run(tmp_path / "cut", parts.pop())
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_a_run_goes_on_with_its_data_at_another_place_and_not_with_other_data(rollouts: Path, tmp_path: Path) -> None:
    def go_on(data: Path, decisions: int) -> None:
        changes = {"offline_data": str(data), "warmup_decisions": 8, "eval_every": 20, "eval_episodes": 4}
        run(tmp_path / "run", with_offline_data(parts_of(decisions=decisions, **changes), print))

    go_on(rollouts, 40)
    go_on(shutil.copytree(rollouts, tmp_path / "moved"), 60)
    assert results(tmp_path / "run")["summary"]["decisions"] == 60
    collect(parts_of(), tmp_path / "others", 4, seed=2)
    with pytest.raises(ValueError, match=r"offline_data_sha256=\w{64} but the checkpoint in"):
        go_on(tmp_path / "others", 80)


def test_data_that_do_not_fit_are_refused_with_what_would_work(rollouts: Path, tmp_path: Path) -> None:
    class Larger(Numbers):
        state_dim = 3

    class Other(Numbers):
        def __init__(self, num_envs: int) -> None:
            super().__init__(num_envs, max_steps=2)
            self.cameras = {"wrist": (3, 8, 8)}

    for task, message in (
        (Larger(4, 2), r"has observation.state of shape \(1,\) but the task's has \(3,\)"),
        (Other(4), r"has no camera wrist, which the task has; it has none"),
    ):
        with pytest.raises(ValueError, match=message):
            OfflineData(str(rollouts), parts_of(task).env)
    with pytest.raises(FileNotFoundError, match=r"has no meta/info.json"):
        OfflineData(str(tmp_path), parts_of().env)
    with pytest.raises(FileNotFoundError, match=r"offline_data=not/a/folder is neither a folder nor a hub id"):
        OfflineData("not/a/folder", parts_of().env)


def test_pictures_of_another_size_than_the_tasks_are_refused(tmp_path: Path) -> None:
    parts = toy_parts()
    collect(parts, tmp_path / "data", 2, seed=1)
    assert len(OfflineData(str(tmp_path / "data"), parts.env))

    class Wider(Guess):
        def __init__(self) -> None:
            super().__init__(4, max_steps=2)
            self.cameras = {"front": (3, 8, 12)}

    env = NoiseActionEnv(Wider(), parts.policy, parts.noise, horizon=2)
    message = r"has pictures of shape \(8, 8, 3\) from the camera front but the task's have \(8, 12, 3\); record"
    with pytest.raises(ValueError, match=message):
        OfflineData(str(tmp_path / "data"), env)


@pytest.mark.parametrize(("high", "found"), [(1e-6, ["100% of its actions lie outside the task's range"]), (9.0, [])])
def test_actions_in_other_units_than_the_task_are_said_so(high: float, found: list[str], rollouts: Path) -> None:
    task, said = Numbers(4, max_steps=4), []
    task.action_low, task.action_high = torch.tensor([-high]), torch.tensor([high])
    with_offline_data(parts_of(task, offline_data=str(rollouts)), said.append)
    lines = [line.partition(": ")[2] for line in said if "range" in line]
    assert [line.partition(",")[0] for line in lines] == found
    assert all("convert them to the task's units, or clip them where they were clipped" in line for line in lines)


@pytest.mark.parametrize(
    ("recorded", "live", "reads", "said"),
    [
        ("reach", "", True, True),
        ("reach", "reach", True, False),
        ("reach", "", False, False),
        ("", "lift", True, False),
    ],
)
def test_other_instructions_than_the_worlds_are_named_where_the_policy_reads_them(
    recorded: str, live: str, reads: bool, said: bool, rollouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = with_offline_data(parts_of(offline_data=str(rollouts)), print)
    monkeypatch.setattr(OfflineData, "sentences", [recorded])
    monkeypatch.setattr(type(parts.policy), "reads_instruction", reads, raising=False)
    assert other_sentences(parts) is None  # nothing has been observed
    parts.env.observed = Observation(torch.zeros(4, 1), {}, (live,) * 4)
    sentence = other_sentences(parts) or ""
    assert (f"has the instruction {recorded!r} but the worlds {live!r}; with other words" in sentence) is said


def test_features_that_are_not_finite_are_refused_before_anything_is_played(
    rollouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_of(offline_data=str(rollouts), offline_cloning_updates=1)
    monkeypatch.setattr(Echo, "encode", lambda self, observation: Encoding(observation.state / 0, {}))
    with pytest.raises(UserError, match=r"^features of frame 0 of offline_data=.* are not finite; check"):
        with_offline_data(parts, print)


def test_data_that_are_never_drawn_are_refused(rollouts: Path) -> None:
    with pytest.raises(UserError, match=r"offline_share=0 draws nothing of offline_data=.*; type a larger offline_sha"):
        with_offline_data(parts_of(offline_data=str(rollouts), offline_share=0.0, warmup_decisions=8), print)


def test_pictures_return_as_the_policy_observed_them(tmp_path: Path, tiny_smolvla: Path) -> None:
    from toys.pictures import Pictures

    from dsrl.noise.repeat import RepeatNoise
    from dsrl.policy.smolvla import SmolVLA

    class RepeatablePictures(Pictures):
        """Draws the same pictures whenever it is observed between two steps."""

        def observe(self) -> Any:
            self.generator.manual_seed(int(self.elapsed.sum()))
            return super().observe()

    policy = SmolVLA(str(tiny_smolvla), device="cpu", dtype="checkpoint")
    noise = RepeatNoise(policy.noise_shape, 1.5, None)
    env = NoiseActionEnv(RepeatablePictures(2), policy, noise, horizon=4)
    parts = replace(toy_parts(), task=env.task, policy=policy, noise=noise, env=env)
    collect(parts, tmp_path / "data", 2, seed=1)
    offline = OfflineData(str(tmp_path / "data"), env)
    assert [(one.before, one.after, one.truncated) for one in offline.transitions] == [
        (0, 4, False),
        (4, 7, True),
        (8, 12, False),
        (12, 15, True),
    ]
    features, _ = env.reset(seeds=[1, 2])
    vectors = torch.randn(2, noise.dim, generator=torch.Generator().manual_seed(0))
    live = env.decode(env.encoding, vectors)
    for replay in ("exact_context", "observation"):
        buffer = Replay(2, 2, seed=0, offline=len(offline))
        offline.write(replay, buffer)
        stored = buffer[buffer.sample_indices(0)]
        starts = np.array([0, 2])
        np.testing.assert_allclose(stored.obs[starts], features, rtol=1e-4, atol=1e-5)
        decoder = ReplayDecoder(env, replay)
        chunk = decoder.decode_replayed(torch.as_tensor(stored.obs[starts]), stored.info, "before", starts, vectors)
        torch.testing.assert_close(chunk, live, rtol=1e-4, atol=1e-5)
