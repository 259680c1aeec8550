"""Notices a reward under which failing pays more than success: learning raises returns, and would learn to fail."""

from __future__ import annotations

import numpy as np

from dsrl.evaluation.confirmation import differences
from dsrl.evaluation.digits import fixed
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.statistics import sign_flip_test

SIGNIFICANCE = 0.01
ADVICE = (
    "let success alone be paid (task.reward=sparse where the task has that key, else a wrapper of the environment), "
    "or let each step cost something"
)


def opposed_reward(base: Evaluation) -> str | None:
    """Return a warning where the episodes that succeed return significantly less than the others; None otherwise.

    By a one-sided Mann-Whitney test. Such is a reward for every step until a success ends the episode.
    """
    from scipy.stats import mannwhitneyu  # seconds to import

    won = [earned for earned, success in zip(base.returns, base.successes or (), strict=False) if success]
    lost = [earned for earned, success in zip(base.returns, base.successes or (), strict=False) if not success]
    if not won or not lost or mannwhitneyu(won, lost, alternative="less").pvalue >= SIGNIFICANCE:
        return None
    earned, without = (fixed(float(np.mean(some)), 1) for some in (won, lost))
    return (
        f"the reward opposes success: episodes of the base policy that succeed return {earned} on average, others "
        f"{without}, and learning raises returns; {ADVICE}"
    )


def risen_returns(best: Evaluation, latest: Evaluation) -> str | None:
    """Return the same warning where `latest` returns significantly more than `best` although it succeeds less often.

    The episodes of the base policy do not show a reward that only the steered policy's own behaviour is paid.
    """
    if latest.successes is None:
        return None
    p_value = sign_flip_test(differences(best, latest))
    if p_value >= SIGNIFICANCE:
        return None
    before, now = (fixed(float(np.mean(one.returns)), 1) for one in (best, latest))
    return f"the reward opposes success: the mean return rose from {before} to {now} meanwhile; {ADVICE}"
