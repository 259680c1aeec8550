"""Checks that the decisions of a run leave something to learn: all worlds play a round together, after a warm-up."""

from __future__ import annotations


def check_learning(
    decisions: int, warmup_decisions: int, *, num_envs: int, utd: float, recorded: bool, offline_updates: int
) -> None:
    """Raise ValueError where an algorithm with networks has no warm-up, nothing to play after it, or no gradient step.

    Warm-up and training end with whole rounds of `num_envs` decisions. Where data was `recorded`, warm-up may be left
    out, and with `offline_updates`, gradient steps on it, all play.
    """
    warmup, whole = (-(-number // num_envs) * num_envs for number in (warmup_decisions, decisions))
    played = whole - warmup
    if warmup_decisions > decisions or (played == 0 and not offline_updates):
        rounds = f" in rounds of num_envs={num_envs} decisions" if warmup_decisions < decisions else ""
        raise ValueError(
            f"warmup_decisions={warmup_decisions} leaves nothing of decisions={decisions}{rounds}; "
            "type a larger decisions or a smaller warmup_decisions"
        )
    if warmup_decisions == 0 and not recorded:
        raise ValueError(
            "warmup_decisions=0 leaves no play by which features and rewards are scaled; "
            f"type warmup_decisions={num_envs} or more, or give offline_data"
        )
    if int(played * utd) + offline_updates < 1:
        after = f"in the {played} decisions after warm-up"
        raise ValueError(f"utd={utd:g} takes no gradient step {after}; type a larger utd or decisions")
