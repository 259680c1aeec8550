"""Builds the parts that DSRL-NA and the algorithms on its critics have in common, from their options."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from gymnasium.spaces import Box

from dsrl.interfaces import Decoder
from dsrl.sac._networks import Actor, FeatureScaler, StackedCritics, Temperature
from dsrl.sac._noise_policy import NoisePolicy, prior_std
from dsrl.sac._options import (
    Activation,
    Auto,
    Count,
    Depth,
    Discount,
    Positive,
    Rate,
    Share,
    Width,
    adam,
    initial_temperature,
)
from dsrl.sac._regulariser import Kind, regulariser_named
from dsrl.sac._returns import RewardScale

REPLAYS = ("context", "exact_context", "observation")


def build_na_parts(
    observation_space: Box,
    action_space: Box,
    *,
    decoder: Decoder,
    chunk_shape: tuple[int, int],
    hidden: Width,
    depth: Depth,
    activation: Activation,
    num_critics: Count,
    noise_critic_grad_steps: Count | Auto,
    base_draws: Annotated[int, Ge(0), Le(256)],
    replay: Literal["context", "exact_context", "observation"],
    regulariser: Kind,
    alpha: Positive | Auto,
    initial_alpha: Positive,
    target_kl: Positive,
    target_entropy: float | Auto,
    actor_lr: Rate,
    critic_lr: Rate,
    alpha_lr: Rate,
    gamma: Discount,
    tau: Share,
    reward_scale: Positive | Auto,
    critic_warmup_updates: Annotated[int, Ge(0)],
    n_step: Annotated[int, Ge(1), Le(1000)],
) -> dict[str, Any]:
    """Return the arguments of `DSRLNA` for the options of `build_dsrl_na`; raises ValueError as it does."""
    if replay not in REPLAYS:
        raise ValueError(f"sac.replay={replay} must be one of {', '.join(REPLAYS)}")
    if noise_critic_grad_steps != "auto" and noise_critic_grad_steps < 1:
        raise ValueError(f"sac.noise_critic_grad_steps={noise_critic_grad_steps} must be at least 1")
    start = initial_temperature(alpha, initial_alpha)
    features, dim, chunk_dim = observation_space.shape[0], action_space.shape[0], chunk_shape[0] * chunk_shape[1]
    std = prior_std(float(action_space.high[0]))
    actor = Actor(features, dim, hidden, depth, activation, std)
    return {
        "policy": NoisePolicy(actor, FeatureScaler(features), observation_space, action_space),
        "critics": StackedCritics(num_critics, features, chunk_dim, hidden, depth, activation),
        "noise_critics": StackedCritics(num_critics, features, dim, hidden, depth, activation),
        "chunk_scaler": FeatureScaler(chunk_dim),
        "decoder": decoder,
        "replay": replay,
        "temperature": Temperature(start, trainable=alpha == "auto"),
        "regulariser": regulariser_named(regulariser, std, target_kl, target_entropy, dim),
        "optimisers": (adam(actor_lr), adam(critic_lr), adam(alpha_lr)),
        "gamma": gamma,
        "tau": tau,
        "reward_scale": RewardScale(reward_scale),
        "critic_warmup_updates": critic_warmup_updates,
        "n_step": n_step,
        "noise_critic_grad_steps": None if noise_critic_grad_steps == "auto" else noise_critic_grad_steps,
        "base_draws": base_draws,
    }
