"""The configuration of a policy that dsrl has steered, as lerobot reads it from config.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lerobot.configs import PreTrainedConfig


@PreTrainedConfig.register_subclass("dsrl")
@dataclass
class DsrlConfig(PreTrainedConfig):
    """The values that lerobot's command line may change; everything else is in steering.json."""

    base_path: str | None = None  # of the base policy: a folder, a hub id or a bundled name; None: that of the export
    base_sha256: str | None = None  # for people: the check uses steering.json
    first_seed: int = 1_000_000  # of the noise of algorithms that draw: as in eval.py's worlds, with --seed the same

    @property
    def observation_delta_indices(self) -> None:
        """Return None: it is not trained by lerobot."""
        return None

    @property
    def action_delta_indices(self) -> None:
        """Return None: it is not trained by lerobot."""
        return None

    @property
    def reward_delta_indices(self) -> None:
        """Return None: it is not trained by lerobot."""
        return None

    def get_optimizer_preset(self) -> Any:
        """Raise: it is not trained by lerobot."""
        raise NotImplementedError("a policy of type dsrl is trained by dsrl: python train.py --help")

    def get_scheduler_preset(self) -> None:
        """Return None: it is not trained by lerobot."""
        return

    def validate_features(self) -> None:
        """Do nothing: the base policy is compared with the task when it is loaded."""
