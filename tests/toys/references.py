"""Reference networks of two hidden layers of 8 with tanh, written out from their parameters."""

from __future__ import annotations

import torch
from torch.distributions import Normal
from torch.nn import functional


def linear(values, weight, bias):
    return values @ weight + bias


def reference_q(critic_state: dict, j: int, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Critic j, written out layer by layer from its parameters."""
    values = torch.cat([features, noise], 1)
    for layer in range(2):
        name = f"layers.{layer}"
        values = linear(values, critic_state[f"{name}.linear.weight"][j], critic_state[f"{name}.linear.bias"][j])
        centred = values - values.mean(1, keepdim=True)
        values = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-5)
        values = torch.tanh(values * critic_state[f"{name}.gain"][j] + critic_state[f"{name}.offset"][j])
    return linear(values, critic_state["head.weight"][j], critic_state["head.bias"][j])[:, 0]


def reference_pi(actor_state: dict, features: torch.Tensor, normal: torch.Tensor):
    values = features
    for layer in (0, 3):
        values = functional.linear(values, actor_state[f"trunk.{layer}.weight"], actor_state[f"trunk.{layer}.bias"])
        name = f"trunk.{layer + 1}"
        values = functional.layer_norm(values, (8,), actor_state[f"{name}.weight"], actor_state[f"{name}.bias"])
        values = torch.tanh(values)
    out = functional.linear(values, actor_state["head.weight"], actor_state["head.bias"])
    mean, log_std = out.chunk(2, dim=1)
    std = log_std.clamp(-10, 2).exp()
    raw = mean + std * normal
    log_prob = Normal(mean, std).log_prob(raw) - torch.log(1 - torch.tanh(raw.double()) ** 2).float()
    return torch.tanh(raw), log_prob.sum(1)


def snapshot(module: torch.nn.Module) -> dict:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
