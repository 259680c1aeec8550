"""Compares the values that a run's results depend on with those of an earlier checkpoint, summary or file.

Some of them are digests that earlier versions did not have: those are compared where both sides have them.
"""

from __future__ import annotations

import json
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
    return isinstance(previous, dict) and previous == known_then(previous, plain)
