"""Regularisers: a penalty on the divergence from the base policy's noise, or the published bonus for entropy.

    penalty of an actor N(μ, σ²) before tanh, at one state
        kl        KL(N(μ, σ²) ‖ N(0, σ₀²)) / dim   >= 0, and 0 at the base policy's noise
        entropy   log π(u), of which the published target entropy H̄ bounds the mean: penalty <= -H̄

    temperature   L = -mean[log α · (penalty - limit)]          α grows while the penalty exceeds its limit
    actor         L = mean[α · penalty - min_j Q_j(s, û)]

The divergence is that of u and of w: it does not change under tanh or a scale. It stays out of the critics' targets, so
that it adds no value to a long episode. Entropy enters them, as published: long failures can be worth more.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from dsrl.sac._options import Auto, Kind

PER_NUMBER = 0.5  # nats
IN_ALL = 3.0  # nats: what it takes to play one in twenty of the base policy's draws, however few numbers there are


class Regulariser(Protocol):
    """A penalty of the actor's distribution at each state, and its limit."""

    limit: float  # of the mean penalty, towards which the temperature is tuned
    in_backup: bool  # whether α times the penalty of the next state lowers the critics' targets

    def penalty(self, mean: Tensor, log_std: Tensor, log_prob: Tensor) -> Tensor:
        """Return the penalty [n] of Gaussians before tanh [n, dim], whose draws have `log_prob` [n]."""


class Divergence:
    """The divergence of the actor from the base policy's noise, per number, in nats."""

    in_backup = False

    def __init__(self, prior_log_std: float, limit: float) -> None:
        """`prior_log_std` is log σ₀, the same in every number; `limit` is in nats per number."""
        self.prior_log_std, self.limit = prior_log_std, limit

    def penalty(self, mean: Tensor, log_std: Tensor, log_prob: Tensor) -> Tensor:
        """Return KL(N(μ, σ²) ‖ N(0, σ₀²)) / dim [n], in closed form."""
        ratio = log_std - self.prior_log_std
        scaled = mean * torch.exp(torch.as_tensor(-self.prior_log_std))
        return 0.5 * (torch.exp(2.0 * ratio) + scaled.square() - 1.0 - 2.0 * ratio).mean(-1)


class Entropy:
    """The published bonus: the entropy of u, in the actor's loss and in the critics' targets (arXiv 1801.01290)."""

    in_backup = True

    def __init__(self, target_entropy: float | Auto, dim: int) -> None:
        """`target_entropy` H̄ is in nats of u, summed over its `dim` numbers; `auto` is -dim.

        Raises ValueError unless it is below dim·log 2, the entropy of uniform u in [-1, 1], which no other exceeds.
        """
        self.limit = float(dim if target_entropy == "auto" else -target_entropy)
        largest = dim * math.log(2.0)
        if -self.limit >= largest:
            raise ValueError(
                f"sac.target_entropy={target_entropy} cannot be reached: noise of dimension {dim} has an entropy below "
                f"{largest:.2f} nats; type a smaller one, such as {self.limit}, or auto for -{dim}"
            )

    def penalty(self, mean: Tensor, log_std: Tensor, log_prob: Tensor) -> Tensor:
        """Return log π(u) [n]."""
        return log_prob


def regulariser_named(
    kind: Kind, prior_std: float, target_kl: float | Auto, target_entropy: float | Auto, dim: int
) -> Regulariser:
    """Build the regulariser `kind` for noise of `dim` numbers, σ₀ = `prior_std`; raises ValueError for another name.

    `target_kl` is in nats per number; `auto` is 0.5, and at least 3 nats in all.
    """
    if kind == "kl":
        return Divergence(math.log(prior_std), max(PER_NUMBER, IN_ALL / dim) if target_kl == "auto" else target_kl)
    if kind == "entropy":
        return Entropy(target_entropy, dim)
    raise ValueError(f"sac.regulariser={kind} must be kl or entropy")
