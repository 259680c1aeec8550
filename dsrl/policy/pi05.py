"""lerobot's π0.5 as a steerable policy: π0 with the state in its prompt; see `dsrl/policy/pi0.py`."""

from __future__ import annotations

from typing import Any

from lerobot.policies.pi05.modeling_pi05 import PI05Policy
from torch import Tensor

from dsrl.policy._pi0_expert import Pi05Expert
from dsrl.policy.pi0 import Pi0


class Pi05(Pi0):
    """A frozen π0.5; see `Pi0`."""

    policy_type = "pi05"
    lerobots = PI05Policy
    expert = Pi05Expert
    old_names = ("action_time_mlp_", "time_mlp_")
    skipped = ("state_proj.",)  # of openpi's π0, from which such a file was made

    def _beside_noise(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return {}
