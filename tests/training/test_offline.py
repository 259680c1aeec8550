"""Decisions from real LeRobotDatasets: how they are cut, what replay holds of them, and that they steer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tianshou.data import Batch
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess
from toys.runs import Killed, results, run, toy_parts

from dsrl.interfaces import Observation
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.build import Parts, with_recorded
from dsrl.training.offline_data import Recorded, cut_episode
from dsrl.training.replay_buffer import make_buffer
from scripts.collect_rollouts import collect

EPISODES = 32


class Numbers(Guess):
    """The guessing task without its camera."""

    def __init__(self, num_envs: int, max_steps: int) -> None:
        super().__init__(num_envs, max_steps)
        self.cameras = {}

    def observe(self) -> Observation:
        seen = super().observe()
        return Observation(seen.state, {}, seen.instruction)


def parts_of(task: Guess | None = None, **changes: Any) -> Parts:
    """Return DSRL-NA on the guessing task, with settings changed."""
    parts = toy_parts()
    task = task or Numbers(4, max_steps=4)
    env = NoiseActionEnv(task, Echo(), parts.noise, horizon=2)
    make_algorithm = partial(build_algorithm, "dsrl_na", env, alpha=0.01, noise_critic_grad_steps=4)
    settings = replace(parts.settings, video_episodes=0, **changes)
    identity = {"seed": 0}
    return replace(parts, task=task, env=env, make_algorithm=make_algorithm, settings=settings, identity=identity)


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


def test_a_demonstration_without_rewards_ends_well_with_its_last_frame() -> None:
    cuts = cut_episode(columns(), horizon=2, first=10)
    assert [(cut.before, cut.after) for cut in cuts] == [(10, 12), (12, 14), (14, 14)]
    assert [cut.chunk[:, 0].tolist() for cut in cuts] == [[0, 1], [2, 3], [4, 4]]
    assert [(cut.reward, cut.terminated, cut.truncated) for cut in cuts] == [
        (0, False, False),
        (0, False, False),
        (1, True, False),
    ]
    assert [cut.env_steps for cut in cuts] == [2, 2, 1]


def test_an_episode_is_cut_off_at_its_first_success_and_one_without_runs_out_of_time() -> None:
    won = cut_episode(columns(success=[False, False, True, True, True]), horizon=2)
    assert [(cut.before, cut.after, cut.reward, cut.terminated) for cut in won] == [(0, 2, 0, False), (2, 2, 1, True)]
    assert won[-1].chunk[:, 0].tolist() == [2, 2]
    lost = cut_episode(columns(success=[False] * 5), horizon=4)
    assert [(cut.before, cut.after, cut.reward) for cut in lost] == [(0, 4, 0), (4, 4, 0)]
    assert [(cut.terminated, cut.truncated) for cut in lost] == [(False, False), (False, True)]


@pytest.mark.parametrize("truncated", [False, True])
def test_rewards_are_summed_over_a_chunk_and_done_is_for_good_unless_it_is_the_clock(truncated: bool) -> None:
    done = [False, False, False, False, True]
    cuts = cut_episode(columns(reward=[1.0, 2.0, 3.0, 4.0, 5.0], done=done, truncated=[*done[:4], truncated]), 3)
    assert [(cut.reward, cut.terminated, cut.truncated) for cut in cuts] == [
        (6.0, False, False),
        (9.0, not truncated, truncated),
    ]


def test_replay_holds_of_recorded_play_what_it_holds_of_play_but_no_noise(rollouts: Path) -> None:
    parts = parts_of()
    env, recorded = parts.env, Recorded(str(rollouts), parts.env)
    buffer = make_buffer(8, 4, seed=0, recorded=len(recorded))
    recorded.write("context", buffer.record)
    assert len(buffer) == len(recorded)
    kept = buffer[buffer.sample_indices(0)]
    assert np.isnan(kept.act).all()
    first = np.concatenate([[True], kept.done[:-1]])
    env.seed(1)
    for seed, row in zip(env.draw_seeds(EPISODES), np.flatnonzero(first), strict=True):
        features, _ = env.reset([0], [seed])
        np.testing.assert_array_equal(kept.obs[row], features[0])
        chunk = torch.zeros(1, 2, 1) + torch.as_tensor(kept.info.chunk[row])
        after, reward, terminated, truncated, _ = env.step_noise(chunk, [0])  # of Echo, noise is the chunk
        assert (kept.rew[row], kept.terminated[row], kept.truncated[row]) == (reward[0], terminated[0], truncated[0])
        if not terminated[0]:
            np.testing.assert_array_equal(kept.obs_next[row], after[0])


def test_dsrl_na_learns_from_recorded_decisions_alone(rollouts: Path, tmp_path: Path) -> None:
    changes = {"offline_data": str(rollouts), "offline_updates": 150, "decisions": 0, "warmup_decisions": 0}
    parts = with_recorded(parts_of(Numbers(4, max_steps=2), **changes, eval_every=100), print)
    run(tmp_path, parts)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["decisions"], summary["env_steps"], summary["training_episodes"]) == (0, 0, 0)
    assert summary["steered"]["success_rate"] > summary["base"]["success_rate"] + 0.15
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len([row for row in rows if "eval/success_rate" in row]) == 3  # before, and after 100 and 150 updates


@pytest.mark.usefixtures("no_learning_curve")
def test_recorded_decisions_stay_in_replay_and_a_killed_run_ends_like_one_that_is_not(
    rollouts: Path,
    tmp_path: Path,
    killed: Callable[[int, str], None],
) -> None:
    changes = {"offline_data": str(rollouts), "offline_updates": 8, "offline_share": 0.5}
    budget = {"decisions": 40, "warmup_decisions": 8, "eval_every": 20, "validation_episodes": 4, "eval_episodes": 4}
    parts = [with_recorded(parts_of(**changes, **budget), print) for _ in range(6)]
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


def test_the_share_of_recorded_decisions_in_a_batch_is_what_was_asked_for() -> None:
    def rollout(value: float, num: int) -> Any:
        flags, numbers = np.zeros(num, bool), np.full((num, 1), value, np.float32)
        ends = {"terminated": flags, "truncated": flags, "done": flags}
        return Batch(obs=numbers, obs_next=numbers, act=numbers, rew=numbers[:, 0], info=Batch(), **ends)

    def values(share: float | None) -> Any:
        buffer = make_buffer(20, 2, seed=0, recorded=30, share=share)
        buffer.record(rollout(1.0, 30))
        assert (buffer[buffer.sample_indices(64)].obs == 1.0).all()  # before any world has played
        for _ in range(5):
            buffer.add(rollout(0.0, 2), buffer_ids=np.arange(2))
        assert len(buffer.sample_indices(0)) == 40
        return buffer[buffer.sample_indices(64)].obs

    assert values(0.25).sum() == 16
    assert values(1.0).sum() == 64
    assert values(0.0).sum() == 0
    assert 36 <= values(None).sum() <= 60  # three in four


def test_data_that_cannot_be_used_is_refused_with_what_would(rollouts: Path, tmp_path: Path) -> None:
    settings = replace(toy_parts().settings, offline_data=str(rollouts))
    with pytest.raises(ValueError, match=r"has chunks and not the noise that DSRLSAC learns from; choose sac=dsrl_na"):
        with_recorded(replace(toy_parts(), settings=settings), print)

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
            Recorded(str(rollouts), parts_of(task).env)
    with pytest.raises(FileNotFoundError, match=r"has no meta/info.json"):
        Recorded(str(tmp_path), parts_of().env)
    with pytest.raises(FileNotFoundError, match=r"offline_data=not/a/folder is neither a folder nor a hub id"):
        Recorded("not/a/folder", parts_of().env)


def test_pictures_come_back_as_the_policy_saw_them(tmp_path: Path, tiny_smolvla: Path) -> None:
    from toys.pictures import Pictures

    from dsrl.noise.repeat import RepeatNoise
    from dsrl.policy.smolvla import SmolVLA

    class Once(Pictures):
        """Looks the same however often it is looked at between two steps."""

        def observe(self) -> Any:
            self.generator.manual_seed(int(self.elapsed.sum()))
            return super().observe()

    policy = SmolVLA(str(tiny_smolvla), device="cpu", dtype="checkpoint")
    noise = RepeatNoise(policy.noise_shape, 1.5, None)
    env = NoiseActionEnv(Once(2), policy, noise, horizon=4)
    parts = replace(toy_parts(), task=env.task, policy=policy, noise=noise, env=env)
    collect(parts, tmp_path / "data", 2, seed=1)
    recorded = Recorded(str(tmp_path / "data"), env)
    assert [(cut.before, cut.after, cut.truncated) for cut in recorded.cuts] == [
        (0, 4, False),
        (4, 7, True),
        (8, 12, False),
        (12, 15, True),
    ]
    features, _ = env.reset(seeds=[1, 2])
    for replay in ("exact_context", "observation"):
        buffer = make_buffer(2, 2, seed=0, recorded=len(recorded))
        recorded.write(replay, buffer.record)
        kept = buffer[buffer.sample_indices(0)]
        np.testing.assert_allclose(kept.obs[[0, 2]], features, rtol=1e-4, atol=1e-5)
        chunks = build_algorithm("dsrl_na", env, replay=replay)._context(kept.info, "context")
        assert len(chunks) >= 3
