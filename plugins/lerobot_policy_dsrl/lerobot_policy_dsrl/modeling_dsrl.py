"""A steered policy behind lerobot's interface: the frozen base, and the noise that dsrl has learnt for it.

batch of lerobot --batches--> Observation --dsrl.run.exported--> chunk [B, T, A] --queue--> action [B, A]
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from dsrl import history
from dsrl.interfaces import Observation
from dsrl.run.exported import ExportedPolicy
from dsrl.run.terminal.errors import UserError
from lerobot_policy_dsrl.batches import num_worlds, over_time, taken, to_observation
from lerobot_policy_dsrl.configuration_dsrl import DsrlConfig

FILES = ["*.json", "*.safetensors", "*.md", "*.txt", "*.jinja"]


class DsrlPolicy(PreTrainedPolicy):
    """Plays `dsrl.run.exported.ExportedPolicy`; the i-th world since loading is the world `first_seed` + i."""

    config_class = DsrlConfig
    name = "dsrl"

    def __init__(self, config: DsrlConfig, folder: Path | None = None, **kwargs: Any) -> None:
        """Load the exported folder; a policy of this type cannot be made from nothing."""
        super().__init__(config)
        if folder is None:
            raise ValueError("a policy of type dsrl is loaded from an exported folder; type --policy.path=…")
        self.player = ExportedPolicy(folder, config.device, config.base_path)
        self._num_observations = history.length(self.player.env.policy)  # that the base policy encodes
        embodiment = getattr(self.player.env.policy, "embodiment", None)
        self._cameras = () if embodiment is None else tuple(embodiment.cameras)  # that the base policy sees
        self._begun = 0  # worlds of earlier resets
        self._batch = 0
        self.reset()

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path: Any, *, config: Any = None, **kwargs: Any) -> DsrlPolicy:  # type: ignore[override]
        """Load a folder or a repository of the hub."""
        folder = Path(pretrained_name_or_path)
        if not folder.is_dir():
            folder = Path(snapshot_download(str(folder), revision=kwargs.get("revision"), allow_patterns=FILES))
        config = DsrlConfig.from_pretrained(folder) if config is None else config
        return cls(config, folder).eval()

    def reset(self) -> None:
        """Begin new episodes in all worlds."""
        self._begun += self._batch
        self._batch = self._decision = 0
        self._queue: deque[Tensor] = deque()
        self._seen: deque[Observation] = deque(maxlen=self._num_observations)  # of the latest control steps

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **kwargs: Any) -> Tensor:
        """Return the actions [B, T, A] of the next decision of every world, T = horizon.

        A policy that looks at n > 1 observations takes those of the latest n control steps, [B, n, ...], oldest first;
        where an episode begins, also its first one alone. Raises UserError for one alone later on.
        """
        n = self._num_observations
        steps = over_time(batch, n, self._cameras)
        if len(steps) < n and (self._decision or self._seen):  # those of the control steps in between are unknown
            raise UserError(
                f"predict_action_chunk got one observation of an episode that goes on but this policy looks at {n}; "
                f"give it those of the latest {n} control steps, [B, {n}, ...], or call select_action in every control "
                "step, or reset() before an episode begins"
            )
        return self._decide([to_observation(self._taken(step)) for step in steps])

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **kwargs: Any) -> Tensor:
        """Return the next action [B, A] of every world; it decides again when a chunk is used up."""
        parts = self._taken(batch)
        if self._num_observations > 1 or not self._queue:
            self._seen.append(to_observation(parts))
        if not self._queue:
            self._queue.extend(self._decide(list(self._seen)).unbind(1))
        return self._queue.popleft()

    def _taken(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return what the policy reads of a batch. Raises UserError for another task's, or other worlds than before."""
        parts = taken(batch, self.player.task, self._cameras)
        if self._batch and num_worlds(parts) != self._batch:
            raise UserError(
                f"the batch has {num_worlds(parts)} worlds but the episodes that go on are of {self._batch}; "
                "call reset() before other worlds begin"
            )
        return parts

    def _decide(self, seen: list[Observation]) -> Tensor:
        """Decide by the latest observations, oldest first; an episode begins with copies of its first."""
        seen = [seen[0]] * (self._num_observations - len(seen)) + seen
        self._batch = len(seen[-1].state)
        first = self.config.first_seed + self._begun
        chunk = self.player.chunk(history.join(seen), range(first, first + self._batch), self._decision)
        self._decision += 1
        return chunk

    def get_optim_params(self) -> dict[str, Any]:
        """Raise: it is not trained by lerobot."""
        raise NotImplementedError("a policy of type dsrl is trained by dsrl: python train.py --help")

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any] | None]:
        """Raise: it is not trained by lerobot."""
        raise NotImplementedError("a policy of type dsrl is trained by dsrl: python train.py --help")
