"""Times one SAC update of batch 256 against peers of the same sizes: tianshou's own SAC, and Stable-Baselines3's.

Ours is timed with the published losses, as the peers have them, and with the defaults of `conf/sac/dsrl_sac.yaml`. The
limit is the time of the matrix products alone, forward and backward, by torch's default library. On CUDA ours is also
timed without recordings of its steps, and with the sizes of a real VLA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from scripts.benchmark.paired import clock_of, in_turns, table

BATCH, WIDTH, DEPTH, ROWS = 256, 256, 2, 4096
PUBLISHED: dict[str, Any] = {
    "regulariser": "entropy", "n_step": 1, "exploration": "fresh", "target_draws": "fresh", "discount_at_limit": 1.0,
    "initial_alpha": 0.1, "alpha_lr": 3e-4,
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "regulariser": "kl", "n_step": 3, "exploration": "held", "target_draws": "held", "discount_at_limit": 0.5,
    "initial_alpha": 1.0, "alpha_lr": 3e-3,
}  # fmt: skip


def report_learners(features: int, dim: int, turns: int, device: str) -> None:
    """Print the milliseconds of an update by learner."""
    calls: dict[str, Callable[[], Any]] = {
        "dsrl": _ours(features, dim, 2, device),
        "dsrl, default losses": _ours(features, dim, 2, device, losses=DEFAULTS),
    }
    if device != "cpu":
        calls["dsrl, steps not recorded"] = _ours(features, dim, 2, device, recorded=False)
    calls["tianshou SAC"] = _tianshou(features, dim, device)
    if device == "cpu":
        calls["matrix products alone"] = _products(features, dim)
    sb3 = _stable_baselines(features, dim, device)
    if sb3 is not None:
        calls["stable-baselines3 SAC"] = sb3
    _report(calls, turns, device, f"2 critics, {features} features, {dim} noise numbers")
    if sb3 is None:
        print("stable-baselines3 is not installed: uv pip install stable-baselines3\n")
    if device != "cpu":
        sizes = 1952, 32, 10
        calls = {
            "dsrl": _ours(*sizes, device),
            "dsrl, default losses": _ours(*sizes, device, losses=DEFAULTS),
            "dsrl, steps not recorded": _ours(*sizes, device, recorded=False),
            "dsrl, on the CPU": _ours(*sizes, "cpu"),
        }
        _report(calls, turns, device, "10 critics, 1952 features, 32 noise numbers")


def _report(calls: dict[str, Callable[[], Any]], turns: int, device: str, sizes: str) -> None:
    timed = in_turns({name: _repeated(call) for name, call in calls.items()}, turns, clock_of(device))
    rows = [[name, f"{100 * timed.median(name):.2f}", timed.ratio(name, "dsrl")] for name in calls]
    print(f"one SAC update: batch {BATCH}, {DEPTH} x {WIDTH} units, {sizes}\n")
    print(table(["learner", "CPU ms" if device == "cpu" else "ms", "to ours"], rows))


def _repeated(call: Callable[[], Any]) -> Callable[[], None]:
    def ten_times() -> None:
        for _ in range(10):
            call()

    return ten_times


def _spaces(features: int, dim: int) -> tuple[Any, Any]:
    from gymnasium.spaces import Box

    return Box(-np.inf, np.inf, (features,), np.float32), Box(-1.0, 1.0, (dim,), np.float32)


def _buffer(features: int, dim: int) -> Any:
    from tianshou.data import Batch, VectorReplayBuffer

    generator = np.random.default_rng(0)
    buffer = VectorReplayBuffer(ROWS, 1)
    buffer.longest_episode, buffer.cut, buffer.incomplete = None, np.zeros(ROWS, bool), np.zeros(ROWS, bool)
    for _ in range(ROWS):
        obs, following = generator.standard_normal((2, 1, features), dtype=np.float32)
        act = generator.uniform(-1, 1, (1, dim)).astype(np.float32)
        flags = {"rew": np.ones(1), "terminated": np.zeros(1, bool), "truncated": np.zeros(1, bool)}
        buffer.add(Batch(obs=obs, obs_next=following, act=act, info=Batch(), **flags), buffer_ids=[0])
    return buffer


def _ours(
    features: int, dim: int, critics: int, device: str, recorded: bool = True, losses: dict[str, Any] = PUBLISHED
) -> Callable[[], Any]:
    from tianshou.utils.torch_utils import policy_within_training_step

    from dsrl.sac.dsrl_sac import build_dsrl_sac

    algorithm = build_dsrl_sac(
        *_spaces(features, dim), hidden=WIDTH, depth=DEPTH, activation="ReLU", num_critics=critics, alpha="auto",
        target_kl=0.5, target_entropy="auto", actor_lr=3e-4, critic_lr=3e-4, gamma=0.97, tau=0.005, reward_scale=1.0,
        critic_warmup_updates=0, **losses,
    ).to(device)  # fmt: skip
    buffer = _buffer(features, dim)

    def update() -> None:
        if not recorded:
            algorithm.recordings.forget()  # a step is recorded once it has been taken several times
        with policy_within_training_step(algorithm.policy):
            algorithm.learn(buffer, BATCH, 1)

    return update


def _tianshou(features: int, dim: int, device: str) -> Callable[[], Any]:
    from tianshou.algorithm.modelfree.sac import SAC, AutoAlpha, SACPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
    from tianshou.utils.torch_utils import policy_within_training_step

    observations, actions = _spaces(features, dim)
    hidden = [WIDTH] * DEPTH

    def critic() -> Any:
        return ContinuousCritic(
            preprocess_net=Net(state_shape=(features,), action_shape=(dim,), hidden_sizes=hidden, concat=True)
        )

    actor = ContinuousActorProbabilistic(
        preprocess_net=Net(state_shape=(features,), hidden_sizes=hidden), action_shape=(dim,), unbounded=True,
        conditioned_sigma=True,
    )  # fmt: skip
    adam = AdamOptimizerFactory(lr=3e-4)
    algorithm = SAC(
        policy=SACPolicy(actor=actor, action_space=actions, observation_space=observations), policy_optim=adam,
        critic=critic(), critic_optim=adam, critic2=critic(), critic2_optim=AdamOptimizerFactory(lr=3e-4), tau=0.005,
        gamma=0.97, alpha=AutoAlpha(-float(dim), 0.0, AdamOptimizerFactory(lr=3e-4)),
    ).to(device)  # fmt: skip
    buffer = _buffer(features, dim)

    def update() -> None:
        with policy_within_training_step(algorithm.policy):
            algorithm.update(buffer, BATCH)

    return update


def _stable_baselines(features: int, dim: int, device: str) -> Callable[[], Any] | None:
    from importlib.util import find_spec

    if find_spec("stable_baselines3") is None:
        return None
    import gymnasium
    from stable_baselines3 import SAC
    from stable_baselines3.common.logger import configure

    observations, actions = _spaces(features, dim)

    class Blank(gymnasium.Env):  # type: ignore[misc]
        observation_space, action_space = observations, actions

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return np.zeros(features, np.float32), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return np.zeros(features, np.float32), 0.0, False, False, {}

    model = SAC(
        "MlpPolicy", Blank(), batch_size=BATCH, buffer_size=ROWS, policy_kwargs={"net_arch": [WIDTH] * DEPTH},
        device=device,
    )  # fmt: skip
    model.set_logger(configure(None, []))
    generator = np.random.default_rng(0)
    for _ in range(ROWS):
        obs, following = generator.standard_normal((2, 1, features), dtype=np.float32)
        act = generator.uniform(-1, 1, (1, dim)).astype(np.float32)
        model.replay_buffer.add(obs, following, act, np.ones(1), np.zeros(1), [{}])
    return lambda: model.train(gradient_steps=1, batch_size=BATCH)


def _products(features: int, dim: int) -> Callable[[], Any]:
    """Return the matrix products of an update: actor once with gradients and once without, critics three times."""
    actor = [(features, WIDTH), *[(WIDTH, WIDTH)] * (DEPTH - 1), (WIDTH, 2 * dim)]
    critic = [(features + dim, WIDTH), *[(WIDTH, WIDTH)] * (DEPTH - 1), (WIDTH, 1)]
    forward = [*actor * 2, *critic * 2 * 3]  # targets, values and the actor's; two critics
    backward = [*actor * 2, *critic * 2 * 3]  # two products a layer; of the actor's step, inputs alone
    given = {size: torch.randn(BATCH, size[0]) for size in forward}
    weights = {size: torch.randn(*size) for size in forward}
    flows = {size: torch.randn(BATCH, size[1]) for size in forward}

    def multiply() -> None:
        for size in forward:
            given[size] @ weights[size]
        for size in backward[::2]:
            flows[size] @ weights[size].T
        for size in backward[1::2]:
            given[size].T @ flows[size]

    return multiply
