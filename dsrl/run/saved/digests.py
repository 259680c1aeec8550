"""Compares the values that a run's results depend on with those of an earlier checkpoint, summary or file.

Some of them are digests that earlier versions did not have: those are compared where both sides have them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

CONFIGURATION_SHA256 = "policy_configuration_sha256"  # in the identity of checkpoints
BACKBONE_SHA256 = "policy_backbone_sha256"


def known_then(previous: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values `now` without the digests of the policy's configuration and backbone that `previous` lacks."""
    later = (CONFIGURATION_SHA256, BACKBONE_SHA256)
    return {key: value for key, value in now.items() if key in previous or key not in later}


def same_values(previous: Any, now: Mapping[str, Any]) -> bool:
    """Return whether the values `now` are those that a JSON file, which may be anybody's, has as `previous`."""
    plain = json.loads(json.dumps(now))
    return isinstance(previous, dict) and same(previous, known_then(previous, plain))


def same(one: Any, other: Any) -> bool:
    """Return whether two plain values are equal, where NaN is equal to itself: it may be typed again."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return bool(one == other)
