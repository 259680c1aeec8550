"""Checks that the budget of a new run leaves something to learn: all worlds play a round together, after a warm-up."""

from __future__ import annotations

from dsrl.run.config.settings import Settings


def check_rounds(settings: Settings) -> None:
    """Raise ValueError where an algorithm with networks has no round to play after warm-up, or no gradient step.

    Warm-up and training end with whole rounds of `num_envs` decisions; gradient steps on recorded data need no play.
    Runs that exist are not asked: their result is what it is.
    """
    warmup, decisions = settings.warmup_decisions, settings.decisions
    whole, before = (-(-number // settings.num_envs) * settings.num_envs for number in (decisions, warmup))
    played, updates = whole - before, settings.offline_updates + settings.offline_cloning_updates
    if played == 0 and not settings.offline_updates:
        raise ValueError(
            f"warmup_decisions={warmup} leaves nothing of decisions={decisions} in rounds of "
            f"num_envs={settings.num_envs} decisions; type a larger decisions or a smaller warmup_decisions"
        )
    if int(played * settings.utd) + updates < 1:
        after = f"in the {played} decisions after warm-up"
        raise ValueError(f"utd={settings.utd:g} takes no gradient step {after}; type a larger utd or decisions")
