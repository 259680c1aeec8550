"""Base class of the MLP policies: maps states to chunks within the range of their training data.

state [B, S] -> (state - mean) / std = features      no context: features alone can be decoded again
noise [B, T, A] + features -> the sampler of a subclass -> [-1, 1] -> chunk [B, T, A] in [low, high] of the data
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import ClassVar

import torch
from torch import Tensor

from dsrl.devices import Device, choose_device
from dsrl.interfaces import Encoding, Observation, Task
from dsrl.policy._denoiser import Denoiser
from dsrl.policy._mlp_checkpoint import MLPConfig, load_checkpoint, read_checkpoint
from dsrl.policy._observation_key import typed_for
from dsrl.policy._options import NumSteps
from dsrl.policy._weights import weights_sha256

FARTHEST = 10.0  # standard deviations; states beyond them, which the data lacks, are clipped


class MLPPolicy(ABC):
    """A frozen MLP that denoises chunks of actions from state observations.

    Args:
        path: a bundled policy's name, or the folder of a checkpoint that scripts/pretrain wrote.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`.
        num_steps: of a denoising; None for the checkpoint's own number.

    Raises:
        FileNotFoundError, ValueError: with one sentence, if the checkpoint is damaged or does not fit the arguments.
    """

    kind: ClassVar[str]
    reads_instruction: ClassVar[bool] = False

    def __init__(self, path: str, device: Device, num_steps: NumSteps | None = None) -> None:
        self.path = path
        self.device = choose_device(device)
        self._config, network = load_checkpoint(path, self.kind)
        self._network = network.to(self.device)
        self.feature_dim: int = self._config.state_dim
        self.chunk_shape: tuple[int, int] = (self._config.chunk, self._config.action_dim)
        self.noise_shape: tuple[int, int] = self.chunk_shape
        self._mean, self._std = self._tensor(self._config.state_mean), self._tensor(self._config.state_std)
        low, high = self._tensor(self._config.action_low), self._tensor(self._config.action_high)
        self._middle, self._reach = (low + high) / 2, (high - low) / 2
        steps = self._config.num_steps if num_steps is None else num_steps
        self._prepare(self._network, self._config, steps)

    @classmethod
    def check_path(cls, path: str) -> None:
        """Raise FileNotFoundError or ValueError where no checkpoint of this kind is at `path`; loads no weights."""
        read_checkpoint(path, cls.kind)

    @abstractmethod
    def _prepare(self, network: Denoiser, config: MLPConfig, num_steps: int) -> None:
        """Compute the constants of a denoising of `num_steps` once. Raises ValueError for an impossible number."""

    @abstractmethod
    def _denoise(self, embedded: Tensor, noise: Tensor) -> Tensor:
        """Denoise flat noise to flat chunks [B, T·A], near [-1, 1]; `embedded` [B, H] comes from the features."""

    @torch.no_grad()  # not inference_mode: features and chunks may enter a loss
    def encode(self, observation: Observation) -> Encoding:
        """Encode the state [B, S] in standard deviations from the mean of the data, without context.

        Raises:
            ValueError: if the state has another size.
        """
        state = observation.state
        if state.ndim != 2 or state.shape[1] != self.feature_dim:
            raise ValueError(
                f"the observed state is {tuple(state.shape)} but {self.path} takes [B, {self.feature_dim}]"
            )
        features = (state.to(self.device, torch.float32) - self._mean) / self._std
        return Encoding(features.clamp(-FARTHEST, FARTHEST), {})

    @torch.no_grad()
    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Denoise [B, T, A] noise into a [B, T, A] chunk in the units and within the range of the training data.

        Deterministic and row-wise; does not change its inputs.

        Raises:
            ValueError: if the noise has another shape.
        """
        expected = (len(encoding.features), *self.noise_shape)
        if tuple(noise.shape) != expected:
            raise ValueError(f"noise has shape {tuple(noise.shape)} but this encoding and policy take {expected}")
        embedded = self._network.from_state(encoding.features)
        flat = self._denoise(embedded, noise.to(self.device, torch.float32).flatten(1))
        return self._middle + self._reach * flat.clamp(-1.0, 1.0).view(expected)

    def check_fits(self, task: Task) -> None:
        """Compare state and action with a task's; raises ValueError with the difference and what to type."""
        for name, ours, theirs in (
            ("state", self.feature_dim, task.state_dim),
            ("action", self.chunk_shape[1], task.action_dim),
        ):
            if ours != theirs:
                numbers = typed_for(task, "state")
                others = f", another task, or {numbers}" if numbers else " or another task"
                raise ValueError(
                    f"policy.path={self.path} has a {ours}-dim {name} but the task has a {theirs}-dim one; choose a "
                    f"checkpoint trained on this task{others}"
                )

    def policy_sha256(self) -> str:
        """Return the SHA-256 of all weights, sizes and statistics, to check that they stay frozen."""
        described = json.dumps(asdict(self._config), sort_keys=True) + weights_sha256(self._network)
        return hashlib.sha256(described.encode()).hexdigest()

    def _tensor(self, numbers: tuple[float, ...]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float32, device=self.device)
