"""Regularisers: the price that the actor pays for leaving the base policy's noise, or the published bonus for entropy.

    price of an actor N(μ, σ²) before tanh, at one state
        kl        KL(N(μ, σ²) ‖ N(0, σ₀²)) / dim   >= 0, and 0 at the base policy's noise
        entropy   log π(u), of which the published target entropy H̄ bounds the mean: price <= -H̄

    temperature   L = -mean[log α · (price - limit)]          α grows while the price exceeds its limit
    actor         L = mean[α · price - min_j Q_j(s, û)]

The divergence is that of u and of w: it does not change under tanh or a scale. It stays out of the critics' targets, so
that no episode pays by its length. Entropy enters them, as published; there a long failure can pay more than a success.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
from torch import Tensor

from dsrl.sac._options import Auto

Kind = Literal["kl", "entropy"]


class Regulariser(Protocol):
    """A price of the actor's distribution at each state, and its limit."""

    limit: float  # of the mean price, towards which the temperature is tuned
    in_backup: bool  # whether α times the price of the next state lowers the critics' targets

    def price(self, mean: Tensor, log_std: Tensor, log_prob: Tensor) -> Tensor:
        """Return the price [n] of Gaussians before tanh [n, dim], whose draws have `log_prob` [n]."""


class Divergence:
    """The divergence of the actor from the base policy's noise, per number, in nats."""

    in_backup = False

    def __init__(self, prior_log_std: float, limit: float) -> None:
        """`prior_log_std` is log σ₀, the same in every number; `limit` is in nats per number."""
        self.prior_log_std, self.limit = prior_log_std, limit

    def price(self, mean: Tensor, log_std: Tensor, log_prob: Tensor) -> Tensor:
        """Return KL(N(μ, σ²) ‖ N(0, σ₀²)) / dim [n], in closed form."""
        ratio = log_std - self.prior_log_std
        scaled = mean * torch.exp(torch.as_tensor(-self.prior_log_std))
        return 0.5 * (torch.exp(2.0 * ratio) + scaled.square() - 1.0 - 2.0 * ratio).mean(-1)


class Entropy:
    """The published bonus: the entropy of u, in the actor's loss and in the critics' targets (arXiv 1801.01290)."""

    in_backup = True

    def __init__(self, target_entropy: float) -> None:
        """`target_entropy` H̄ is in nats of u, summed over its numbers."""
        self.limit = -target_entropy

    def price(self, mean: Tensor, log_std: Tensor, log_prob: Tensor) -> Tensor:
        """Return log π(u) [n]."""
        return log_prob


def regulariser_named(
    kind: Kind, prior_std: float, target_kl: float, target_entropy: float | Auto, dim: int
) -> Regulariser:
    """Build the regulariser `kind` for noise of `dim` numbers; raises ValueError for another name.

    `prior_std` is σ₀; `target_entropy=auto` is -dim.
    """
    if kind == "kl":
        return Divergence(math.log(prior_std), target_kl)
    if kind == "entropy":
        return Entropy(float(-dim if target_entropy == "auto" else target_entropy))
    raise ValueError(f"sac.regulariser={kind} must be kl or entropy")
