"""Trains a PPO agent for a gymnasium task until the mean return of its stochastic policy reaches a target.

Uses tianshou's PPO and collector, on worlds whose action is scaled to [-1, 1]. The aim is a medium agent in little
time, not the best one: a policy that clones it leaves room for steering.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.utils.statistics import RunningMeanStd
from tianshou.utils.torch_utils import policy_within_training_step
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.collector import make_collector
from dsrl.training.replay_buffer import Replay

ROUND = 128  # steps in every world between two updates
EPOCHS, BATCH = 10, 64
LATEST = 50  # episodes over which the agent's return is averaged


class Agent(nn.Module):
    """A Gaussian over actions in [-1, 1]^A; standardises its states by running statistics."""

    mean: Tensor
    std: Tensor

    def __init__(self, states: int, actions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(states))
        self.register_buffer("std", torch.ones(states))
        self.actor = _mlp(states, actions, last_gain=0.01)
        self.log_std = nn.Parameter(torch.full((actions,), -0.5))

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[tuple[Tensor, Tensor], Any]:
        """Return mean [B, A] and standard deviation [B, A] for states [B, S], in tianshou's signature."""
        mean = self.actor(self.standardise(obs))
        return (mean, self.log_std.exp().expand_as(mean)), state

    def standardise(self, obs: Any) -> Tensor:
        """Return standardised states [B, S], clipped to ±10."""
        states = torch.as_tensor(obs, dtype=torch.float32)
        return ((states - self.mean) / self.std).clamp(-10.0, 10.0)

    @torch.no_grad()
    def act(self, states: NDArray[np.float32], generator: torch.Generator) -> Tensor:
        """Return drawn actions [n, A], clipped to [-1, 1]."""
        (mean, std), _ = self(states)
        return torch.normal(mean, std, generator=generator).clamp(-1.0, 1.0)


class _Critic(nn.Module):
    """The value [B, 1] of states [B, S], standardised like the actor's."""

    def __init__(self, agent: Agent, states: int) -> None:
        super().__init__()
        self._standardise = agent.standardise
        self.net = _mlp(states, 1, last_gain=1.0)

    def forward(self, obs: Any, **_: Any) -> Tensor:
        value: Tensor = self.net(self._standardise(obs))
        return value


class _Policy(ProbabilisticActorPolicy):  # type: ignore[misc]  # tianshou is not followed
    @staticmethod
    def _compile() -> None:
        """Skip tianshou's eager numba compilation: functions compile at their first call."""


def train_agent(
    env: NoiseActionEnv, *, target: float, max_steps: int, seed: int, report: Callable[[str], None] = print
) -> tuple[Agent, float, int]:
    """Train in `env`, whose action must be that of the task, until the mean return of 50 episodes reaches `target`.

    Returns the agent, that mean and the number of steps. Raises ValueError if it is not reached in `max_steps`.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)  # tianshou shuffles its batches with it
    env.seed(seed)
    agent = Agent(env.observation_space.shape[0], env.action_space.shape[0])
    algorithm = _ppo(env, agent)
    buffer = Replay(ROUND * len(env), len(env), seed)
    collector = make_collector(algorithm.policy, env, buffer)
    collector.reset_env()
    moments, returns, steps, started = RunningMeanStd(), deque[float](maxlen=LATEST), 0, time.perf_counter()
    while steps < max_steps:
        with policy_within_training_step(algorithm.policy):
            played: Any = collector.collect(n_step=ROUND * len(env))
            _standardise_by(agent, moments, buffer)
            algorithm.update(buffer, BATCH, EPOCHS)
        collector.reset_buffer(keep_statistics=True)
        steps += played.n_collected_steps
        returns.extend(played.returns.tolist())
        score = float(np.mean(returns)) if returns else float("nan")
        report(f"{steps} steps  return {score:.0f}  {time.perf_counter() - started:.0f} s")
        if len(returns) == LATEST and score >= target:
            return agent, score, steps
    raise ValueError(
        f"the agent's mean return is {score:.0f} after {steps} steps; lower --target {target:.0f} or raise --steps"
    )


def _ppo(env: NoiseActionEnv, agent: Agent) -> Any:
    policy = _Policy(
        actor=agent,
        dist_fn=_gaussian,
        action_space=env.action_space,
        observation_space=env.observation_space,
        action_bound_method="clip",
    )
    return PPO(
        policy=policy,
        critic=_Critic(agent, env.observation_space.shape[0]),
        optim=AdamOptimizerFactory(lr=3e-4),
        ent_coef=0.0,
        vf_coef=0.25,
        max_grad_norm=0.5,
        max_batchsize=4096,
        return_scaling=True,
    )


def _standardise_by(agent: Agent, moments: RunningMeanStd, buffer: Any) -> None:
    """Set the agent's mean and standard deviation to those of all states so far."""
    moments.update(np.asarray(buffer.sample(0)[0].obs, dtype=np.float64))
    agent.mean.copy_(torch.as_tensor(moments.mean, dtype=torch.float32))
    agent.std.copy_(torch.as_tensor(np.sqrt(moments.var) + 1e-6, dtype=torch.float32))


def _gaussian(parameters: tuple[Tensor, Tensor]) -> Distribution:
    return Independent(Normal(*parameters), 1)


def _mlp(inputs: int, outputs: int, last_gain: float) -> nn.Sequential:
    layers = [nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, outputs)]
    for layer, gain in zip(layers, (2**0.5, 2**0.5, last_gain), strict=True):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
