"""Options of the algorithms for tests that build one without a YAML: small networks, high learning rates.

`OPTIONS` has one entry for each algorithm; `BY_HAND` changes them to what the equation tests compute with.
"""

from __future__ import annotations

from typing import Any

Options = dict[str, Any]

CRITICS_AND_ACTOR: Options = {
    "hidden": 16,
    "depth": 1,
    "activation": "ReLU",
    "num_critics": 2,
    "actor_lr": 3e-3,
    "critic_lr": 3e-3,
    "gamma": 0.9,
    "tau": 0.05,
    "reward_scale": 1.0,
    "critic_warmup_updates": 50,
}
TEMPERATURE: Options = {"alpha": 0.01, "initial_alpha": 0.1, "target_entropy": "auto", "alpha_lr": 3e-3}
PUBLISHED: Options = {
    "regulariser": "entropy",
    "target_kl": 1.0,
    "n_step": 1,
    "discount_at_limit": 1.0,
    "exploration": "fresh",
    "target_draws": "fresh",
}

SAC = CRITICS_AND_ACTOR | TEMPERATURE | PUBLISHED
AUTO = SAC | {"alpha": "auto"}
NA = AUTO | {"replay": "context", "noise_critic_grad_steps": 2, "base_draws": 0, "targets": "decoded"}
PI0 = CRITICS_AND_ACTOR | TEMPERATURE | {"alpha": "auto"}
LP_DS = CRITICS_AND_ACTOR | {"delta": "auto", "initial_multiplier": 0.1, "multiplier_lr": 3e-3}
GOLDEN_TICKET: Options = {"candidates": 4}
SELECT = NA | {"candidates": 3, "select_targets": True}

EDIT = NA | {"edit_scale": 0.5, "edit_noise": 0.5, "edit_kl": 0.5, "edit_draws": 2}

OPTIONS = {
    "dsrl_sac": SAC,
    "dsrl_na": NA,
    "dsrl_edit": EDIT,
    "dsrl_pi0": PI0,
    "dsrl_select": SELECT,
    "lp_ds": LP_DS,
    "golden_ticket": GOLDEN_TICKET,
}

# networks as toys.references writes them out; no warm-up, so that the first update is that of the equations
BY_HAND: Options = {
    "hidden": 8,
    "depth": 2,
    "activation": "Tanh",
    "num_critics": 3,
    "actor_lr": 1e-2,
    "critic_lr": 1e-2,
    "tau": 0.25,
    "critic_warmup_updates": 0,
}
BY_HAND_TEMPERATURE: Options = {"initial_alpha": 0.3, "alpha_lr": 1e-2}
