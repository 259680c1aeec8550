"""The networks of every algorithm here: feature scaling, the actor, and critics stacked into one batched MLP."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

LOG_STD_RANGE = (-10.0, 2.0)
FEATURE_LIMIT = 10.0  # standard deviations; a feature that was almost constant in warm-up could take huge values later


class FeatureScaler(nn.Module):
    """Standardisation of features by a mean and a deviation that are fitted once; identity until then."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Fit mean and deviation to features [N, F]; constant features are only centred."""
        std, mean = torch.std_mean(features, dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, features: Tensor) -> Tensor:
        """Return the standardised features [B, F], clipped to ±10."""
        return ((features - self.mean) / self.std).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)


class Actor(nn.Module):
    """Mean and log deviation of a Gaussian before tanh, from standardised features.

    The output layer starts at zero weights, so that every state starts with the same distribution, N(0, std²).
    """

    def __init__(self, inputs: int, dim: int, hidden: int, depth: int, activation: str, initial_std: float) -> None:
        super().__init__()
        self.trunk = hidden_layers(inputs, hidden, depth, activation)
        self.head = zero_layer(hidden, 2 * dim)
        with torch.no_grad():
            self.head.bias[dim:] = math.log(initial_std)
        (low, high), start = LOG_STD_RANGE, math.log(initial_std)
        self.log_std_range = min(low, start - 1.0), max(high, start + 1.0)  # in wide and narrow noise boxes too

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean [B, dim] and log deviation [B, dim]."""
        mean, log_std = self.head(self.trunk(features)).chunk(2, dim=-1)
        return mean, log_std.clamp(*self.log_std_range)


class StackedCritics(nn.Module):
    """E independent MLPs Q_j(features, u) computed as one batched product per layer: [E, B] values."""

    def __init__(self, num: int, features: int, dim: int, hidden: int, depth: int, activation: str) -> None:
        super().__init__()
        widths = [features + dim, *[hidden] * depth]
        self.layers = nn.ModuleList(_StackedLayer(num, a, b, activation) for a, b in pairwise(widths))
        self.head = _StackedLinear(num, hidden, 1)

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        """Return the values [E, B] of standardised features [B, F] and squashed noise u [B, dim]."""
        values = torch.cat([features, noise], dim=-1).expand(self.head.weight.shape[0], -1, -1)
        for layer in self.layers:
            values = layer(values)
        out: Tensor = self.head(values).squeeze(-1)
        return out


class _StackedLinear(nn.Module):
    def __init__(self, num: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)  # nn.Linear's own initialisation
        self.weight = nn.Parameter(torch.empty(num, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num, 1, outputs).uniform_(-bound, bound))

    def forward(self, values: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, values, self.weight)


class _StackedLayer(nn.Module):
    """Linear, LayerNorm with its own gain and offset per critic, activation."""

    def __init__(self, num: int, inputs: int, outputs: int, activation: str) -> None:
        super().__init__()
        self.linear = _StackedLinear(num, inputs, outputs)
        self.gain = nn.Parameter(torch.ones(num, 1, outputs))
        self.offset = nn.Parameter(torch.zeros(num, 1, outputs))
        self.activation = activation_named(activation)

    def forward(self, values: Tensor) -> Tensor:
        values = self.linear(values)
        normalised = functional.layer_norm(values, values.shape[-1:])
        out: Tensor = self.activation(torch.addcmul(self.offset, normalised, self.gain))
        return out


def hidden_layers(inputs: int, hidden: int, depth: int, activation: str) -> nn.Sequential:
    """Build `depth` layers of `hidden` units: linear, LayerNorm, activation."""
    layers: list[nn.Module] = []
    for width in [inputs, *[hidden] * (depth - 1)]:
        layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), activation_named(activation)]
    return nn.Sequential(*layers)


def zero_layer(inputs: int, outputs: int) -> nn.Linear:
    """Build a linear layer whose weights and biases start at zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def activation_named(name: str) -> nn.Module:
    """Build one of ReLU, Tanh, SiLU, GELU, ELU; raises ValueError for another name."""
    known = {"ReLU": nn.ReLU, "Tanh": nn.Tanh, "SiLU": nn.SiLU, "GELU": nn.GELU, "ELU": nn.ELU}
    if name not in known:
        raise ValueError(f"sac.activation={name} must be one of {', '.join(known)}")
    module: nn.Module = known[name]()
    return module


class Temperature(nn.Module):
    """The temperature α, stored as log α: one number to train, or a constant."""

    log_alpha: Tensor

    def __init__(self, alpha: float, trainable: bool) -> None:
        super().__init__()
        self.trainable = trainable
        log_alpha = torch.tensor(math.log(alpha))
        if trainable:
            self.log_alpha = nn.Parameter(log_alpha)
        else:
            self.register_buffer("log_alpha", log_alpha)

    @property
    def value(self) -> Tensor:
        """α, detached: a scalar tensor."""
        return self.log_alpha.detach().exp()


@contextmanager
def frozen[M: nn.Module](module: M) -> Iterator[M]:
    """Give the parameters of `module` no gradient within, also where a step fails there and is taken again."""
    module.requires_grad_(False)
    try:
        yield module
    finally:
        module.requires_grad_(True)
