"""Numbers the worlds that demonstrations come from: neither training nor an evaluation plays them.

worlds             played by
below 2**29        evaluations: test_seed, validation_seed and confirm_seed, which are refused from there on
2**29 to 2**30     collectors of demonstrations, from which base policies are cloned
2**30 to 2**31     training
"""

from __future__ import annotations

from dsrl.run.config.worlds import FIRST_DEMONSTRATED

NUM = 2**29


def demonstration_world(seed: int, index: int) -> int:
    """Return the world of the attempt `index` (from 0) of a collector's `--seed`.

    Seeds are a million worlds apart, so that recordings of two small seeds share none.
    """
    return FIRST_DEMONSTRATED + (seed * 1_000_003 + index) % NUM
