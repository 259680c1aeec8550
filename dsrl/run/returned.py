"""Decides which policy a run returns: the best checkpoint where it is confirmed to beat the base policy, else the base.

Steering never leaves a user worse off: a run whose training failed returns the policy that it began with.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dsrl.evaluation.confirmation import Confirmation, confirm
from dsrl.evaluation.digits import fixed
from dsrl.evaluation.noise_sources import Act, base_noise
from dsrl.run.components.final_evaluation import play
from dsrl.run.components.parts import Parts
from dsrl.run.saved.folder import RunFolder
from dsrl.run.saved.own_summary import DIGESTS
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.signals import Signals

LOOK = 32  # worlds between two looks at the result, rounded up to full rounds of all worlds


def confirm_steered(parts: Parts, steered: Act, screen: Screen, signals: Signals) -> Confirmation | None:
    """Compare the steered policy with the base, in worlds that chose nothing unless seeds repeat those of the task.

    Returns None where there is no base or nothing to confirm.
    """
    settings, num_envs = parts.settings, len(parts.env)
    if parts.policy_sha256() is None or not settings.confirm_episodes:
        return None
    base = base_noise(parts.policy.noise_shape)
    kind = "new worlds" if parts.num_worlds is None else "worlds of training"
    screen.phase(f"confirming that it beats the base policy, on {settings.confirm_episodes} {kind} at most …")
    found = confirm(
        lambda first, num: play(parts, base, screen, episodes=num, first_seed=first, signals=signals),
        lambda first, num: play(parts, steered, screen, episodes=num, first_seed=first, signals=signals),
        first_seed=settings.confirm_seed,
        episodes=settings.confirm_episodes,
        batch=num_envs * -(-LOOK // num_envs),
    )
    screen.phase(sentence(found, kind, has_success=parts.env.has_success))
    return found


def returned_name(confirmation: Confirmation | None) -> str:
    """Return `steered` or `base`: the policy that a run returns."""
    return "steered" if confirmation is None or confirmation.better else "base"


def sentence(found: Confirmation, kind: str, *, has_success: bool) -> str:
    """Word the result for the user; `kind` says which worlds were played."""
    base, steered = (f"{score:.1%}" if has_success else fixed(score, 1) for score in (found.base, found.steered))
    numbers = f"{steered} against {base} in {found.worlds} {kind}, p = {found.p_value:.2g}"
    if found.better:
        return f"confirmed: the steered policy is better than the base policy ({numbers})"
    return (
        f"not confirmed: the steered policy is not significantly better than the base policy ({numbers}, "
        f"which had to be below {found.threshold:.2g}); "
        "this run returns the base policy (checkpoint=best evaluates the steered one all the same)"
    )


def content(confirmation: Confirmation | None, folder: RunFolder) -> dict[str, Any]:
    """Return the entries of summary.json about the returned policy, and the digests of the weights that it is about."""
    return {
        "returned": returned_name(confirmation),
        "confirmation": confirmation and asdict(confirmation),
        DIGESTS: folder.checkpoint_sha256("best"),
    }
