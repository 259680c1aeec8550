"""The parts of a run: live objects and typed values, without any config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from dsrl.interfaces import HasWeights, Noise, Policy, Task
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.few_worlds import num_worlds
from dsrl.run.config.settings import OFFLINE_SHA256, Settings
from dsrl.run.saved.digests import BACKBONE_SHA256, CONFIGURATION_SHA256
from dsrl.training.offline_data import OfflineData


@dataclass(frozen=True)
class Parts:
    """Task, policy, noise, environment, algorithm and settings of a run."""

    settings: Settings
    task: Task
    policy: Policy
    noise: Noise
    env: NoiseActionEnv
    algorithm: Any  # a Learner or Searcher of dsrl.interfaces
    identity: Mapping[str, Any] = field(default_factory=dict)  # values that may not change when a run is continued
    offline: OfflineData | None = None
    setup_seconds: float | None = None  # of building the simulation, where that is done

    @property
    def num_worlds(self) -> int | None:
        """How many different worlds the task has; None where every seed is another one."""
        return num_worlds(self.task)

    def policy_sha256(self) -> str | None:
        """Return the digest of the policy's weights; None for a policy without any, so that there is no base."""
        return self.policy.policy_sha256() if isinstance(self.policy, HasWeights) else None

    def whole_identity(self) -> dict[str, Any]:
        """Return `identity` with the digests of the policy and of the recorded data's numbers."""
        data = {} if self.offline is None else {OFFLINE_SHA256: self.offline.sha256}
        found = {
            CONFIGURATION_SHA256: configuration_sha256(self.policy),
            BACKBONE_SHA256: backbone_sha256(self.policy),
        }
        rest = {key: digest for key, digest in found.items() if digest is not None}
        return {**self.identity, "policy_sha256": self.policy_sha256(), **rest, **data}


@runtime_checkable
class HasFps(Protocol):
    """A task with a control frequency (optional)."""

    fps: float | None  # control steps per second; None where the environment declares none


def whole_fps(task: Task) -> int | None:
    """Return the control steps per second of a task as videos and datasets have them, 1 or more; None for unknown."""
    named = task.fps if isinstance(task, HasFps) else None
    return max(1, round(named)) if named else None


@runtime_checkable
class ChecksTyped(Protocol):
    """A task's class with a check of what was typed (optional)."""

    def check_typed(self, task: Mapping[str, Any], path: str | None) -> None:
        """Raise ValueError for options of the task, or a policy.path, that cannot work; starts no simulator."""


@runtime_checkable
class ChecksPath(Protocol):
    """A policy's class, or the function that loads it, with a check of its checkpoint alone (optional)."""

    def check_path(self, path: str) -> None:
        """Raise FileNotFoundError or ValueError where no checkpoint of this kind is at `path`; loads no weights."""


@runtime_checkable
class ChecksPaths(Protocol):
    """A package of policies that checks the paths of some of them without importing them (optional)."""

    def check_path(self, target: str, path: str) -> bool:
        """Return whether the check of the class or function `target` is here; raises as `ChecksPath` does."""


@runtime_checkable
class MeasuresNoise(Protocol):
    """A noise that stands for the one that a measurement will choose (optional)."""

    draws_per_world: int  # of the measurement, at most


@runtime_checkable
class HasConfiguration(Protocol):
    """A policy whose chunks depend on more of its checkpoint than `policy_sha256` covers (optional)."""

    def configuration_sha256(self) -> str:
        """Return the digest of the rest, such as statistics, to check that it stays the same."""


@runtime_checkable
class HasBackbone(Protocol):
    """A policy whose chunks depend on sizes and a tokenizer of a backbone that neither digest covers (optional)."""

    def backbone_sha256(self) -> str | None:
        """Return the digest of these, to check that they stay the same; None without any."""


def configuration_sha256(policy: Policy) -> str | None:
    """Return the digest of what else a policy's chunks depend on; None for a policy without one."""
    return policy.configuration_sha256() if isinstance(policy, HasConfiguration) else None


def backbone_sha256(policy: Policy) -> str | None:
    """Return the digest of the backbone's sizes and tokenizer; None for a policy without one."""
    return policy.backbone_sha256() if isinstance(policy, HasBackbone) else None


@runtime_checkable
class ChoosesHorizon(Protocol):
    """A policy that executes a part of its chunk where `horizon` is null, as its checkpoint says (optional)."""

    default_horizon: int  # actions, at most those of a chunk


@runtime_checkable
class DenoisesPast(Protocol):
    """A policy whose noise begins with slots of actions before now, which its chunks leave out (optional)."""

    first_slot: int  # of the noise that the first action of a chunk is denoised from


@runtime_checkable
class HasRemarks(Protocol):
    """A policy whose checkpoint has something to announce (optional)."""

    remarks: Sequence[str]  # sentences


@runtime_checkable
class HasLanguage(Protocol):
    """A policy that may read the instruction (optional)."""

    reads_instruction: bool


def reads_instruction(policy: Policy) -> bool:
    """Return whether a policy reads the instruction of each world."""
    return isinstance(policy, HasLanguage) and policy.reads_instruction


def executed_slots(policy: Policy, typed: int | None) -> range:
    """Return the slots of the noise that the executed actions of a chunk are denoised from, see `horizon_of`."""
    first = policy.first_slot if isinstance(policy, DenoisesPast) else 0
    return range(first, first + min(horizon_of(policy, typed), policy.chunk_shape[0]))


def horizon_of(policy: Policy, typed: int | None) -> int:
    """Return how many actions of a chunk are executed: `typed`, or what the policy chooses, or the whole chunk."""
    if typed is not None:
        return typed
    return policy.default_horizon if isinstance(policy, ChoosesHorizon) else policy.chunk_shape[0]
