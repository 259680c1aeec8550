"""Numbers the worlds that demonstrations come from: neither training nor, by default, an evaluation plays them.

worlds             played by
below 2**29        evaluations: test_seed, validation_seed and confirm_seed, where nobody typed larger ones
2**29 to 2**30     collectors of demonstrations, from which base policies are cloned
2**30 to 2**31     training
"""

from __future__ import annotations

FIRST, NUM = 2**29, 2**29


def demonstration_world(seed: int, index: int) -> int:
    """Return the world of the attempt `index` (from 0) of a collector's `--seed`.

    Seeds are a million worlds apart, so that recordings of two small seeds share none.
    """
    return FIRST + (seed * 1_000_003 + index) % NUM
