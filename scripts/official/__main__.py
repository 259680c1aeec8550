"""Train the published DSRL-NA on a MuJoCo task and the base policy that our runs steer, and leave its learning curve.

    python -m scripts.official --fork stable-baselines3 --task hopper --seed 0 --out official_0.csv

`--fork` is a checkout of github.com/ajwagen/stable-baselines3, whose `DSRL` does all of the learning; what stands here
is the part of github.com/ajwagen/dsrl around it (train_dsrl.py, env_utils.py, utils.py, cfg/gym/dsrl_hopper.yaml), for
a gymnasium task and a policy of ours. Evaluations are ours: the worlds and seeds of train.py, with the published
actor's draws (its own evaluation) and its mean (ours). The CSV file is one for scripts/official/compare.py; its steps
are four a chunk, those of warm-up too.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported: spinning threads starve each other

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from dsrl.interfaces import Encoding, Observation

WORLDS, WIDTH, DEPTH = 4, 128, 3
COLUMNS = ("eval/timesteps", "eval/reward", "eval/reward_deterministic", "wall_time_s")


class ChunkWorld(gymnasium.Env):  # type: ignore[misc]  # gymnasium is not followed
    """One world whose action is a flat chunk, as in the published `ActionChunkWrapper`.

    A chunk is played to its last action even where the episode has ended, rewards and all, and an end by the clock is
    told as an end for good.
    """

    def __init__(self, id: str, policy: Any, max_steps: int) -> None:
        """`policy` standardises what is seen, and its chunks give the length of an action."""
        self._env = gymnasium.make(id, max_episode_steps=max_steps + policy.chunk_shape[0])  # the clock is kept here
        self._policy, self._max_steps, self._count = policy, max_steps, 0
        inner = self._env.action_space
        assert isinstance(inner, Box)
        self.action_space = Box(*(np.tile(bound, policy.chunk_shape[0]) for bound in (inner.low, inner.high)))
        self.observation_space = Box(-np.inf, np.inf, (policy.feature_dim,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        state, _ = self._env.reset(seed=seed)
        self._count = 0
        return self._seen(state), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        total, ended = 0.0, False
        for one in action.reshape(self._policy.chunk_shape):
            state, reward, terminated, _, _ = self._env.step(one)
            self._count += 1
            total, ended = total + float(reward), ended or terminated
        return self._seen(state), total, ended or self._count >= self._max_steps, False, {}

    def _seen(self, state: Any) -> NDArray[np.float32]:
        batch = torch.as_tensor(np.asarray(state), dtype=torch.float32)[None]
        features: Tensor = self._policy.encode(Observation(batch, {}, ("",))).features
        return features[0].numpy()


class BasePolicy:
    """A policy of ours behind the call of the published `DPPOBasePolicyWrapper`."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def __call__(self, obs: Tensor, initial_noise: Tensor, return_numpy: bool = True) -> Any:
        chunk = self._policy.decode(Encoding(obs, {}), initial_noise)
        return chunk.numpy() if return_numpy else chunk


def make_learner(fork: Any, world: Any, policy: Any, options: argparse.Namespace) -> Any:
    """The published algorithm with the published settings, but for `train_freq` (see README.md)."""
    sizes = [WIDTH] * DEPTH
    return fork.DSRL(
        "MlpPolicy",
        world,
        learning_rate=3e-4,
        buffer_size=options.decisions + WORLDS,
        learning_starts=1,
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=options.train_freq,
        gradient_steps=20,
        ent_coef="auto",
        target_entropy=0.0,
        policy_kwargs={
            "net_arch": {"pi": sizes, "qf": sizes},
            "activation_fn": torch.nn.Tanh,
            "log_std_init": 0.0,
            "post_linear_modules": [torch.nn.LayerNorm],
            "n_critics": 2,
        },
        diffusion_policy=BasePolicy(policy),
        diffusion_act_dim=policy.chunk_shape,
        noise_critic_grad_steps=10,
        critic_backup_combine_type="min",
        device="cpu",
    )


def warm_up(model: Any, world: Any, chunk_shape: tuple[int, int], chunks: int) -> None:
    """Play the base policy under N(0, I) into replay, as the published `collect_rollouts`."""
    seen = world.reset()
    for _ in range(chunks // WORLDS):
        action = model.diffusion_policy(torch.as_tensor(seen), torch.randn(WORLDS, *chunk_shape)).reshape(WORLDS, -1)
        after, reward, done, infos = world.step(action)
        model.replay_buffer.add(obs=seen, next_obs=after, action=action, reward=reward, done=done, infos=infos)
        seen = after


def returns(model: Any, env: Any, episodes: int, first_seed: int, deterministic: bool) -> float:
    """Mean return of the published actor in the worlds of train.py."""
    from dsrl.evaluation.episodes import evaluate

    def act(features: NDArray[np.float32], seeds: Sequence[int], decision: int) -> Tensor:
        noise, _ = model.policy.predict(features, deterministic=deterministic)
        return torch.as_tensor(noise, dtype=torch.float32).view(len(features), *env.policy.noise_shape)

    return evaluate(env, act, episodes=episodes, first_seed=first_seed).score


def train(fork: Any, options: argparse.Namespace) -> None:
    """Learn, writing one row per evaluation; prints the returns in the test worlds at the end."""
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    from scripts.parts import build_parts

    torch.set_num_threads(1)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    parts = build_parts([f"task={options.task}", f"num_envs={options.validation_episodes}"])
    policy, task = parts.policy, parts.task
    worlds = DummyVecEnv([lambda: ChunkWorld(options.id, policy, task.max_steps)] * WORLDS)
    worlds.seed(options.seed + 1)
    model = make_learner(fork, worlds, policy, options)
    warm_up(model, worlds, policy.chunk_shape, options.warmup_decisions)
    begin = time.monotonic()

    with options.out.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)

        class Evaluate(BaseCallback):  # type: ignore[misc]  # not followed
            def _on_step(self) -> bool:
                played = options.warmup_decisions + self.num_timesteps
                if self.num_timesteps == WORLDS or played % options.eval_every == 0:
                    where = (parts.env, options.validation_episodes, parts.settings.validation_seed)
                    found = [returns(model, *where, deterministic) for deterministic in (False, True)]
                    steps = policy.chunk_shape[0] * played
                    rows.writerow([steps, *(f"{value:.1f}" for value in found), f"{time.monotonic() - begin:.0f}"])
                    file.flush()
                    print(f"{steps} control steps: {found[0]:.0f} drawn, {found[1]:.0f} by the mean", flush=True)
                return True

        model.learn(options.decisions - options.warmup_decisions, callback=Evaluate())
    where = (parts.env, parts.settings.eval_episodes, parts.settings.test_seed)
    drawn, mean = (returns(model, *where, deterministic) for deterministic in (False, True))
    print(f"{where[1]} test worlds: {drawn:.0f} drawn, {mean:.0f} by the mean", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends with one sentence where the fork is not what it must be."""
    options = _options(arguments)
    sys.path.insert(0, str(options.fork))
    try:
        import stable_baselines3 as fork

        fork.DSRL  # noqa: B018
    except (ImportError, AttributeError) as error:
        sys.exit(
            f"error: --fork {options.fork} does not give the published DSRL ({error}); "
            "check github.com/ajwagen/stable-baselines3 out there, and install pandas and cloudpickle"
        )
    train(fork, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    from scripts.medium_base import RECIPES

    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fork", type=Path, required=True, help="checkout of ajwagen/stable-baselines3")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file")
    parser.add_argument("--task", choices=sorted(RECIPES), default="hopper")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--decisions", type=int, default=12000, help="chunks, warm-up included")
    parser.add_argument("--warmup-decisions", type=int, default=2000, help="chunks of the base policy")
    parser.add_argument("--train-freq", type=int, default=1, help="steps of all 4 worlds per 20 gradient steps")
    parser.add_argument("--eval-every", type=int, default=1000, help="chunks")
    parser.add_argument("--validation-episodes", type=int, default=16)
    options = parser.parse_args(arguments)
    options.id = RECIPES[options.task].id
    return options


if __name__ == "__main__":
    main()
