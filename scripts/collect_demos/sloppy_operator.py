"""A scripted operator that reaches for the named cube with errors on purpose: demonstrations of mixed quality.

A perfect expert would leave steering nothing to improve. This operator regresses towards the middle of the table: it
overshoots near cubes and undershoots far ones, by an amount that differs between demonstrations. The error depends on
the state, so that no constant noise corrects it in the policy that clones these demonstrations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsrl.task._tabletop import MAX_OPENING

_MIDDLE = 0.555  # m, x of the middle of the cubes' area
_ABOVE, _GRASP, _CARRY = 0.14, 0.02, 0.22  # m, heights of the gripper
_PHASE = 8  # control steps: one phase fills one chunk of the bundled policy


def sloppiness(
    cube: NDArray[np.float64], generator: np.random.Generator, mean: float, spread: float
) -> NDArray[np.float64]:
    """Return the operator's errors on the table [B, 2] (m); cube [B, 3]; mean and spread of the regression (m)."""
    side = np.clip((cube[:, 0] - _MIDDLE) / 0.06, -1.0, 1.0)
    along = -side * generator.normal(mean, spread, len(cube))
    across = generator.normal(0.0, 0.008, len(cube))
    return np.stack([along, across], axis=1)


def pick(gripper: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return gripper targets [B, 24, 4] (x, y, z, opening; m): approach, descend and close, lift.

    gripper: [B, 3] at the start; reach: [B, 2] the goal on the table.
    """
    open_, shut = MAX_OPENING, 0.0
    above, low, high = (_at(reach, z) for z in (_ABOVE, _GRASP, _CARRY))
    return np.concatenate(
        [
            _phase(gripper, above, 6, [open_] * _PHASE),
            _phase(above, low, 4, [open_] * 5 + [shut] * 3),
            _phase(low, high, 6, [shut] * _PHASE),
        ],
        axis=1,
    )


def pick_and_place(
    gripper: NDArray[np.float64], reach: NDArray[np.float64], box: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return gripper targets [B, 40, 4]: `pick`, then carry over the box [B, 2] and open."""
    high, over = _at(reach, _CARRY), _at(box, _CARRY)
    return np.concatenate(
        [
            pick(gripper, reach),
            _phase(high, over, 7, [0.0] * _PHASE),
            _phase(over, _at(box, _CARRY - 0.06), 3, [0.0] * 3 + [MAX_OPENING] * 5),
        ],
        axis=1,
    )


def _at(place: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    return np.concatenate([place, np.full((len(place), 1), height)], axis=1)


def _phase(
    start: NDArray[np.float64], end: NDArray[np.float64], steps: int, openings: list[float]
) -> NDArray[np.float64]:
    """Return targets [B, _PHASE, 4]: straight from start to end [B, 3] in `steps` control steps, then waiting there."""
    share = np.minimum(np.arange(1, _PHASE + 1) / steps, 1.0)[None, :, None]
    path = start[:, None] + share * (end - start)[:, None]
    return np.concatenate([path, np.broadcast_to(np.array(openings)[None, :, None], (*path.shape[:2], 1))], axis=2)
