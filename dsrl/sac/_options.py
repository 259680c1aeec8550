"""Options that several algorithms share: their types, their ranges, and what is built from their values.

Each `TypedDict` has the keys of a YAML: conf/sac/_actor_critic.yaml, _near_prior.yaml, and those of the NA family.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import torch
from annotated_types import Ge, Gt, Le
from tianshou.algorithm.optim import OptimizerFactory, TorchOptimizerFactory

Count = Annotated[int, Ge(1)]
Critics = Annotated[int, Ge(1), Le(1000)]
Width = Annotated[int, Ge(1), Le(65_536)]  # units of a layer
Depth = Annotated[int, Ge(1), Le(100)]  # layers
Discount = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Le(1)]  # of new weights in a moving average
Rate = Annotated[float, Gt(0), Le(1)]  # of learning
Positive = Annotated[float, Ge(1e-9), Le(1_000_000_000)]  # whose squares are finite in float32, and none is 0
Activation = Literal["ReLU", "Tanh", "SiLU", "GELU", "ELU"]
Auto = Literal["auto"]
Targets = Literal["distilled", "decoded"]  # values of the next states, for the critics of chunks
Kind = Literal["kl", "entropy"]  # of a regulariser
DrawnWhen = Literal["fresh", "held"]  # draws of an actor: at each decision, or once for the decisions that follow


class ActorCriticOptions(TypedDict):
    """Options of the algorithms that learn an actor and critics."""

    hidden: Width
    depth: Depth
    activation: Activation
    num_critics: Critics
    actor_lr: Rate
    critic_lr: Rate
    gamma: Discount
    tau: Share
    reward_scale: Positive | Auto
    critic_warmup_updates: Annotated[int, Ge(0)]


class NearPriorOptions(ActorCriticOptions):
    """Options of those whose actor stays near the base policy's noise."""

    regulariser: Kind
    alpha: Positive | Auto
    initial_alpha: Positive
    target_kl: Positive | Auto
    target_entropy: float | Auto
    alpha_lr: Rate
    n_step: Annotated[int, Ge(1), Le(1000)]
    discount_at_limit: Annotated[float, Gt(0), Le(1)]
    exploration: DrawnWhen
    target_draws: DrawnWhen


class NAOptions(NearPriorOptions):
    """Options of DSRL-NA and the algorithms on its critics."""

    noise_critic_grad_steps: Count | Auto
    base_draws: Annotated[int, Ge(0), Le(256)]
    targets: Targets
    replay: Literal["context", "exact_context", "observation"]


def initial_temperature(alpha: float | Auto, initial_alpha: float) -> float:
    """Return the initial α: `alpha` if that is a number, else `initial_alpha`. Raises ValueError unless above 0."""
    if isinstance(alpha, str) and alpha != "auto":
        raise ValueError(f"sac.alpha={alpha} must be a number, to fix the temperature, or auto, to tune it")
    start = float(initial_alpha if alpha == "auto" else alpha)
    if not start > 0:
        name = "initial_alpha" if alpha == "auto" else "alpha"
        raise ValueError(f"sac.{name}={start} must be above 0, such as 0.1")
    return start


def adam(lr: float) -> OptimizerFactory:
    """Return the factory of an Adam optimiser that steps in one fused kernel."""
    return TorchOptimizerFactory(torch.optim.Adam, lr=lr, fused=True)
