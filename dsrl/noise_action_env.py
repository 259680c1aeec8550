"""The door between the simulated worlds and the learner: its action is the noise that a frozen policy starts from.

    learner (numpy)            NoiseActionEnv                               task, policy (torch)
    features [n, F]      <---  encode(observe())          one look
    noise vector [n, d]  --->  expand -> decode -> chunk [n, T, A]  --->    `horizon` x step, summed to each world's end

torch and numpy meet here and nowhere else. The class is a duck-typed tianshou vector environment; one of its steps is
one decision. Row i is world i, for ever: worlds that have ended, or that a call does not name, are parked by `hold()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from dsrl.interfaces import Encoding, Observation, SteerablePolicy, Task
from dsrl.noise.space import Noise as Noise
from dsrl.noise.space import NoiseSpace as NoiseSpace
from dsrl.training.looks import is_observation, joined, observation_of

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Infos = NDArray[np.object_]
Transition = tuple[Floats, Floats, Bools, Bools, Infos]

FIRST_DRAWN_SEED = 2**30
"""Worlds that the environment seeds by itself start here, so that small seeds stay free for evaluation."""

ENCODED_AT_ONCE = 64  # replayed observations; what a policy computes on the way takes memory

LOOK_AT = "look at the task's state and the policy's normalisation statistics"


@dataclass(frozen=True)
class Decision:
    """The latest decision of some worlds, for those who keep more than noise of it; rows in the order of the call."""

    before: Encoding  # what the policy knew
    chunk: Tensor  # [n, horizon, A] what was executed, or would have been had the world not ended
    after: Encoding  # what it knew then; of a terminated world, the same as before
    seen_before: Observation  # what `before` is the encoding of
    seen_after: Observation


@dataclass
class _Outcome:
    """What a chunk brought, per world [B]: rewards summed and flags raised up to the world's own end."""

    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    success: Tensor
    env_steps: Tensor

    @classmethod
    def of(cls, num_envs: int, device: torch.device) -> _Outcome:
        terminated, truncated, success = (torch.zeros(num_envs, dtype=torch.bool, device=device) for _ in range(3))
        env_steps = torch.zeros(num_envs, dtype=torch.int64, device=device)
        return cls(torch.zeros(num_envs, device=device), terminated, truncated, success, env_steps)


class NoiseActionEnv:
    """A vector environment whose actions are noise vectors and whose steps are action chunks."""

    is_async = False

    def __init__(self, task: Task, policy: SteerablePolicy, noise: Noise, horizon: int) -> None:
        """`horizon` is how many actions of each chunk are executed before the policy looks again.

        Raises ValueError where task, policy, noise and horizon do not fit; nothing is simulated here.
        """
        _check_fit(task, policy, noise, horizon)
        self.task, self.policy, self.noise, self.horizon = task, policy, noise, horizon
        self.observation_space = Box(-np.inf, np.inf, (policy.feature_dim,), np.float32)
        self.action_space = NoiseSpace(noise.dim, noise.magnitude)
        self.has_success = task.has_success
        self.longest_episode = -(-task.max_steps // horizon)  # decisions
        self.encoding: Encoding | None = None  # of all worlds, as of each one's last look
        self.seen: Observation | None = None  # by all worlds, as of each one's last look
        self.decision: Decision | None = None  # the latest
        self.chunk_shape = (horizon, policy.chunk_shape[1])  # of what is executed
        self.instructions = [""] * task.num_envs  # of all worlds, as of each one's last look
        self.ended = torch.ones(task.num_envs, dtype=torch.bool)
        self.seeds = np.zeros(task.num_envs, dtype=np.int64)
        self.seed_stream = np.random.default_rng(0)

    def __len__(self) -> int:
        return self.task.num_envs

    def seed(self, seed: int) -> None:
        """Fix the worlds that resets without seeds will draw, and the samples of the action space."""
        self.seed_stream = np.random.default_rng(seed)
        self.action_space.seed(seed)

    def draw_seeds(self, num: int) -> Sequence[int]:
        """The next `num` seeds of the stream that `seed` started."""
        return [int(drawn) for drawn in self.seed_stream.integers(FIRST_DRAWN_SEED, 2**31, num)]

    def rows_of(self, seeds: Sequence[int]) -> Tensor:
        """The rows [n] of the running worlds of `seeds`."""
        rows = {int(self.seeds[row]): row for row in torch.nonzero(~self.ended).flatten().tolist()}
        return torch.tensor([rows[seed] for seed in seeds])

    def close(self) -> None:
        """Part of the vector-environment protocol; the task outlives us."""

    @torch.no_grad()
    def reset(
        self, env_id: NDArray[np.int64] | Sequence[int] | int | None = None, seeds: Sequence[int] | None = None
    ) -> tuple[Floats, Infos]:
        """Start new episodes in the named worlds (all, if None): features [n, F] and info [n].

        World env_id[i] becomes exactly the world of seeds[i]; without `seeds` they are drawn from the stream that
        `seed` started, from 2**30 up. Raises ValueError where seeds and worlds differ in number.
        """
        worlds = self._rows(env_id)
        drawn = self.draw_seeds(len(worlds)) if seeds is None else seeds
        if len(drawn) != len(worlds):
            raise ValueError(f"{len(drawn)} seeds were given for {len(worlds)} worlds; give one seed per world")
        self.seeds[worlds.numpy()] = drawn
        self.task.reset(worlds, [int(seed) for seed in drawn])
        self.ended[worlds] = False
        self._look(worlds)
        info = [{"success": False, "env_steps": 0, "seed": int(seed)} for seed in drawn]
        return self._features(worlds), np.array(info, dtype=object)

    def step(self, action: Floats, id: NDArray[np.int64] | Sequence[int] | int | None = None) -> Transition:
        """One decision by noise vectors [n, dim] in the named worlds; see `step_noise`."""
        return self.step_noise(self.noise.expand(torch.as_tensor(action, dtype=torch.float32)), id)

    @torch.no_grad()
    def step_noise(
        self,
        noise: Tensor,
        id: NDArray[np.int64] | Sequence[int] | int | None = None,
        *,
        look_at_truncated: bool = True,
    ) -> Transition:
        """One decision by the sampler's own noise [n, T', D]: features, reward, terminated, truncated, info, each [n].

        Rewards are summed up to each world's end. The features of a truncated world are those of its last observation,
        from which its value bootstraps (nobody who only evaluates needs that look: `look_at_truncated=False`);
        those of a terminated world mean nothing and stay what they were. Raises ValueError for a world that has ended
        and was not reset, and FloatingPointError where noise, chunk, reward or features are not finite.
        """
        worlds = self._rows(id)
        if self.encoding is None or self.seen is None or self.ended[worlds].any():
            raise ValueError(f"worlds {worlds[self.ended[worlds]].tolist()} have ended; reset them before stepping")
        _check_finite(noise, worlds, "noise", "the actor is lost, so lower its learning rates")
        before, seen = self.encoding[worlds], self.seen[worlds]
        chunk = self.policy.decode(before, noise.to(before.features.device))
        _check_finite(chunk, worlds, "chunk")
        outcome = self._execute(chunk, worlds)
        terminated, truncated = outcome.terminated.cpu()[worlds], outcome.truncated.cpu()[worlds]
        self.ended[worlds] = terminated | truncated
        continuing = ~(terminated | truncated)
        if continuing.any() or (look_at_truncated and truncated.any()):
            self._look(worlds[continuing | truncated] if look_at_truncated else worlds[continuing])
        self.decision = Decision(before, chunk[:, : self.horizon], self.encoding[worlds], seen, self.seen[worlds])
        reward = outcome.reward.cpu()[worlds].numpy()
        return self._features(worlds), reward, terminated.numpy(), truncated.numpy(), self._info(outcome, worlds)

    @torch.no_grad()
    def decode(self, features: Tensor, context: Mapping[str, Tensor], vectors: Tensor) -> Tensor:
        """The chunks [B, horizon, A] that noise vectors [B, dim] would have executed where the policy saw this.

        `features` [B, F] and `context` are those of any earlier looks; tensors kept in another precision are brought
        back to that of the policy. Where `context` is an observation instead (`dsrl.training.looks`),
        the policy looks again.
        Vectors may lie outside the noise box. The result is on the vectors' device.
        """
        if is_observation(context):
            return self._look_again(observation_of(context), vectors)
        latest = {} if self.encoding is None else self.encoding.context
        own = {key: value.to(latest[key]) if key in latest else value for key, value in context.items()}
        device = features.device if self.encoding is None else self.encoding.features.device
        chunk = self.policy.decode(Encoding(features.to(device), own), self.noise.expand(vectors).to(device))
        return chunk[:, : self.horizon].to(vectors)

    def _look_again(self, seen: Observation, vectors: Tensor) -> Tensor:
        """The chunks [B, horizon, A] of noise vectors [B, dim] in worlds that were once seen like this."""
        chunks = []
        for rows in torch.split(torch.arange(len(vectors)), ENCODED_AT_ONCE):
            encoding = self.policy.encode(seen[rows])
            noise = self.noise.expand(vectors[rows]).to(encoding.features.device)
            chunks.append(self.policy.decode(encoding, noise)[:, : self.horizon].to(vectors))
        return torch.cat(chunks) if chunks else vectors.new_zeros(0, *self.chunk_shape)

    def _execute(self, chunk: Tensor, worlds: Tensor) -> _Outcome:
        """Play the chunk [n, T, A] in `worlds` while all others, and those that end on the way, hold still."""
        hold = self.task.hold()
        plan = torch.zeros(len(self), *chunk.shape[1:], device=hold.device, dtype=hold.dtype)
        plan[worlds] = chunk.to(plan)
        active = torch.zeros(len(self), dtype=torch.bool, device=hold.device)
        active[worlds] = True
        outcome = _Outcome.of(len(self), hold.device)
        for t in range(self.horizon):
            step = self.task.step(torch.where(active[:, None], plan[:, t], self.task.hold()))
            _check_finite(torch.where(active, step.reward, 0.0), torch.arange(len(self)), "reward")
            outcome.reward += torch.where(active, step.reward, 0.0)
            outcome.env_steps += active
            outcome.terminated |= active & step.terminated
            outcome.truncated |= active & step.truncated & ~step.terminated
            if step.success is not None:
                outcome.success |= active & step.success
            active = active & ~(step.terminated | step.truncated)
            if not active.any():
                break
        return outcome

    def _look(self, worlds: Tensor) -> None:
        """Encode `worlds` as they are now and put them into the rows of the encoding that waits for `decode`."""
        observed = self.task.observe()
        seen = observed[worlds]
        self.seen = observed if self.seen is None else _renewed(self.seen, seen, worlds)
        for world, instruction in zip(worlds.tolist(), seen.instruction, strict=True):
            self.instructions[world] = instruction
        fresh = self.policy.encode(seen)
        _check_finite(fresh.features, worlds, "features")
        if torch.equal(worlds, torch.arange(len(self))):
            self.encoding = fresh
            return
        if self.encoding is None:
            self.encoding = _spread(fresh, worlds, len(self))
            return
        features = _replaced(self.encoding.features, fresh.features, worlds, "features")
        context = {key: _replaced(old, fresh.context[key], worlds, key) for key, old in self.encoding.context.items()}
        self.encoding = Encoding(features, context)

    def _features(self, worlds: Tensor) -> Floats:
        assert self.encoding is not None
        features: Floats = self.encoding.features[worlds].float().cpu().numpy()
        return features

    def _info(self, outcome: _Outcome, worlds: Tensor) -> Infos:
        success, env_steps = outcome.success.cpu()[worlds].tolist(), outcome.env_steps.cpu()[worlds].tolist()
        seeds = self.seeds[worlds.numpy()].tolist()
        rows = zip(success, env_steps, seeds, strict=True)
        info = [{"success": won, "env_steps": steps, "seed": seed} for won, steps, seed in rows]
        return np.array(info, dtype=object)

    def _rows(self, ids: Any) -> Tensor:
        return torch.arange(len(self)) if ids is None else torch.as_tensor(np.atleast_1d(ids), dtype=torch.int64)


def _check_fit(task: Task, policy: SteerablePolicy, noise: Noise, horizon: int) -> None:
    length, action_dim = policy.chunk_shape
    if not 1 <= horizon <= length:
        raise ValueError(
            f"horizon is {horizon} but the policy's chunks have {length} actions; choose a horizon of 1 to {length}"
        )
    if task.action_dim != action_dim:
        raise ValueError(
            f"policy emits {action_dim}-dim actions but the task takes {task.action_dim}; "
            "choose a checkpoint for this robot or another task.control"
        )
    expanded = tuple(noise.expand(torch.zeros(1, noise.dim)).shape[1:])
    if expanded != tuple(policy.noise_shape):
        raise ValueError(
            f"noise expands to {expanded} but the policy's sampler takes {tuple(policy.noise_shape)}; "
            "build the noise with the policy's noise_shape"
        )


def _check_finite(values: Tensor, worlds: Tensor, quantity: str, advice: str = LOOK_AT) -> None:
    if not torch.isfinite(values).all():
        bad = ~torch.isfinite(values.flatten(1) if values.ndim > 1 else values[:, None]).all(1)
        raise FloatingPointError(f"{quantity} of world {worlds[bad.cpu()].tolist()} is not finite; {advice}")


def _renewed(old: Observation, fresh: Observation, worlds: Tensor) -> Observation:
    """`old` with the rows of `worlds` as they are now."""
    rows = torch.arange(len(old.state))
    rows[worlds] = len(rows) + torch.arange(len(worlds))
    return joined([old, fresh])[rows]


def _replaced(old: Tensor, fresh: Tensor, worlds: Tensor, name: str) -> Tensor:
    if old.shape[1:] != fresh.shape[1:]:
        raise ValueError(
            f"encoding {name!r} has rows of shape {tuple(fresh.shape[1:])} now but {tuple(old.shape[1:])} before; "
            "a policy must encode every world to the same shape (pad to a fixed length)"
        )
    rows = old.clone()
    rows[worlds.to(old.device)] = fresh
    return rows


def _spread(fresh: Encoding, worlds: Tensor, num_envs: int) -> Encoding:
    """An encoding of all worlds that knows only some: the others have ended and are never read before a reset."""
    rows = torch.zeros(num_envs, dtype=torch.int64)
    rows[worlds] = torch.arange(len(worlds))
    return fresh[rows]
