"""Builds the parts that DSRL-SAC, DSRL-NA and the algorithms on their critics have in common, from their options."""

from __future__ import annotations

from typing import Any, Unpack, get_args

from gymnasium.spaces import Box

from dsrl.interfaces import Decoder
from dsrl.sac._networks import Actor, FeatureScaler, StackedCritics, Temperature
from dsrl.sac._noise_policy import NoisePolicy, prior_std
from dsrl.sac._options import NAOptions, NearPriorOptions, Targets, adam, initial_temperature
from dsrl.sac._regulariser import regulariser_named
from dsrl.sac._returns import RewardScale

REPLAYS = ("context", "exact_context", "observation")
TARGETS = get_args(Targets)


def build_parts(
    observation_space: Box, action_space: Box, choice_dim: int, options: NearPriorOptions
) -> dict[str, Any]:
    """Return the arguments of `DSRLSAC` whose critics value choices [choice_dim]; raises ValueError out of range."""
    start = initial_temperature(options["alpha"], options["initial_alpha"])
    features, dim = observation_space.shape[0], action_space.shape[0]
    layers = options["hidden"], options["depth"], options["activation"]
    std = prior_std(float(action_space.high[0]))
    actor = Actor(features, dim, *layers, std)
    draws = options["exploration"], options["target_draws"]
    return {
        "policy": NoisePolicy(actor, FeatureScaler(features), observation_space, action_space, *draws),
        "critics": StackedCritics(options["num_critics"], features, choice_dim, *layers),
        "temperature": Temperature(start, trainable=options["alpha"] == "auto"),
        "regulariser": regulariser_named(
            options["regulariser"], std, options["target_kl"], options["target_entropy"], dim
        ),
        "optimisers": (adam(options["actor_lr"]), adam(options["critic_lr"]), adam(options["alpha_lr"])),
        "gamma": options["gamma"],
        "tau": options["tau"],
        "reward_scale": RewardScale(options["reward_scale"]),
        "critic_warmup_updates": options["critic_warmup_updates"],
        "n_step": options["n_step"],
        "discount_at_limit": options["discount_at_limit"],
    }


def build_na_parts(
    observation_space: Box,
    action_space: Box,
    *,
    decoder: Decoder,
    chunk_shape: tuple[int, int],
    **options: Unpack[NAOptions],
) -> dict[str, Any]:
    """Return the arguments of `DSRLNA` for the options of `build_dsrl_na`; raises ValueError as it does."""
    replay, steps = options["replay"], options["noise_critic_grad_steps"]
    if replay not in REPLAYS:
        raise ValueError(f"sac.replay={replay} must be one of {', '.join(REPLAYS)}")
    if options["targets"] not in TARGETS:
        raise ValueError(f"sac.targets={options['targets']} must be one of {', '.join(TARGETS)}")
    if options["targets"] == "distilled" and not options["base_draws"]:
        raise ValueError("sac.base_draws=0 decodes in each step of distillation; sac.targets=decoded goes with it")
    if steps != "auto" and steps < 1:
        raise ValueError(f"sac.noise_critic_grad_steps={steps} must be at least 1")
    features, dim, chunk_dim = observation_space.shape[0], action_space.shape[0], chunk_shape[0] * chunk_shape[1]
    valued = chunk_dim + (dim if options["target_draws"] == "held" else 0)
    layers = options["hidden"], options["depth"], options["activation"]
    return {
        **build_parts(observation_space, action_space, valued, options),
        "noise_critics": StackedCritics(options["num_critics"], features, dim, *layers),
        "chunk_scaler": FeatureScaler(chunk_dim),
        "decoder": decoder,
        "replay": replay,
        "noise_critic_grad_steps": None if steps == "auto" else steps,
        "base_draws": options["base_draws"],
        "targets": options["targets"],
    }
