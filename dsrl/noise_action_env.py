"""The environment whose action is noise: one step is one decision of a frozen policy in every named world.

    learner                   NoiseActionEnv                           task, policy
    encoding [n]       <---   encode(observe())    once a decision
    noise [n, T', D]   --->   decode (-> edit) -> chunk [n, T, A] ->   `horizon` x step, summed to the world's end

Row i is world i for the whole run: worlds that have ended are parked by `hold()`. Name every world that has not ended:
not every task's `hold` stops a running world.
tianshou plays by `reset` and `step` (numpy, noise vectors), evaluations by `reset_worlds` and `decide` (torch).
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

from dsrl import history
from dsrl.edits import Editor
from dsrl.interfaces import Encoding, Noise, Observation, Policy, Restorable, StateDict, Task
from dsrl.noise.space import NoiseSpace
from dsrl.rules import noise_rules, policy_rules, task_rules
from dsrl.rules.finite_rules import check_worlds_finite

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Infos = NDArray[np.object_]
Ids = NDArray[np.int64] | Sequence[int] | int | None

FIRST_DRAWN_SEED = 2**30  # of the environment's own draws, so that small seeds stay free for evaluation
ENCODED_AT_ONCE = 64  # observations per encoding of replayed ones: the policy's intermediate values take memory


@dataclass(frozen=True)
class Decision:
    """The latest decision of some worlds, rows in the order of the call."""

    before: Encoding
    chunk: Tensor  # [n, horizon, A] that was executed, or would have been had the world not ended
    after: Encoding  # of a terminated world, the same as before
    observed_before: Observation  # of `before`, a history where the policy has one
    observed_after: Observation  # of `after`; a terminated world's history may contain steps of this chunk already


@dataclass(frozen=True)
class Outcome:
    """The result of one chunk per world: rewards summed and flags raised up to the world's own end."""

    reward: Tensor  # [n] float32
    terminated: Tensor  # [n] bool
    truncated: Tensor  # [n] bool
    success: Tensor  # [n] bool
    env_steps: Tensor  # [n] int64, control steps

    @classmethod
    def zeros(cls, num: int, device: torch.device | None = None) -> Outcome:
        """Return an outcome of zeros, to be accumulated in place."""
        kinds = (torch.float32, torch.bool, torch.bool, torch.bool, torch.int64)
        return cls(*(torch.zeros(num, dtype=kind, device=device) for kind in kinds))

    def of(self, worlds: Tensor) -> Outcome:
        """Select rows (int64 [n]), on the CPU."""
        return Outcome(*(getattr(self, name).cpu()[worlds] for name in self.__dataclass_fields__))


class NoiseActionEnv:
    """A vector environment whose actions are noise and whose steps are action chunks."""

    is_async = False

    def __init__(self, task: Task, policy: Policy, noise: Noise, horizon: int) -> None:
        """`horizon` is the number of actions of each chunk that are executed before the policy observes again.

        Raises ValueError where task, policy, noise and horizon do not fit; nothing is simulated here.
        """
        _check_fit(task, policy, noise, horizon)
        self.task, self.policy, self.noise, self.horizon = task, policy, noise, horizon
        self.observation_space = Box(-np.inf, np.inf, (policy.feature_dim,), np.float32)
        self.action_space = NoiseSpace(noise.dim, noise.magnitude)
        self.has_success = task.has_success
        self.longest_episode = -(-task.max_steps // horizon)  # decisions
        self.chunk_shape = (horizon, policy.chunk_shape[1])  # of executed actions
        self.encoding: Encoding | None = None  # of all worlds, as each was last observed
        self.observed: Observation | None = None  # of all worlds, as each was last observed; a history [B, n, ...]
        self.decision: Decision | None = None  # the latest
        self.editor: Editor = None  # of the chunks of `step`
        self.ended = torch.ones(task.num_envs, dtype=torch.bool)
        self.seeds = np.zeros(task.num_envs, dtype=np.int64)
        self._left = torch.full((task.num_envs,), task.max_steps)  # control steps until the truncation of each world
        self._seed_stream = np.random.default_rng(0)
        self._fresh = False  # whether every world is at its start
        self.busy = False  # whether task and policy are at work; after an error of theirs it stays True

    def __len__(self) -> int:
        return self.task.num_envs

    def seed(self, seed: int) -> None:
        """Seed the worlds that resets without seeds draw, and the samples of the action space."""
        self._seed_stream = np.random.default_rng(seed)
        self.action_space.seed(seed)

    def draw_seeds(self, num: int) -> list[int]:
        """Draw `num` seeds from the stream that `seed` started."""
        return [int(drawn) for drawn in self._seed_stream.integers(FIRST_DRAWN_SEED, 2**31, num)]

    def close(self) -> None:
        """Do nothing: the task belongs to the caller."""

    @torch.no_grad()
    def reset_worlds(self, worlds: Tensor, seeds: Sequence[int]) -> None:
        """Start new episodes: row worlds[i] (int64 [n]) becomes exactly the world of seeds[i]."""
        if len(seeds) != len(worlds):
            raise ValueError(f"{len(seeds)} seeds were given for {len(worlds)} worlds; give one seed per world")
        self.busy = True
        self.seeds[worlds.numpy()] = seeds
        self.task.reset(worlds, [int(seed) for seed in seeds])
        self.ended[worlds], self._left[worlds] = False, self.task.max_steps
        self._observe(worlds, at_start=True)
        self._fresh, self.busy = len(worlds) == len(self), False

    @torch.no_grad()
    def decide(self, noise: Tensor, worlds: Tensor, editor: Editor = None, observe_truncated: bool = True) -> Outcome:
        """Execute one decision by the sampler's own noise [n, T', D], edited by `editor`, in `worlds` (int64 [n]).

        Afterwards `encoding` is of the next observation of each world, the last one of a truncated world, from which
        its value bootstraps (unless `observe_truncated=False`), and the row of a terminated world is unchanged. Raises
        ValueError for a world that has ended, FloatingPointError where noise, chunk, reward or features are not finite.
        """
        if self.encoding is None or self.observed is None or self.ended[worlds].any():
            raise ValueError(f"worlds {worlds[self.ended[worlds]].tolist()} have ended; reset them before stepping")
        check_worlds_finite(noise, worlds, "noise", "the actor has diverged, so lower its learning rates")
        self.busy = True
        before, observed = self.encoding[worlds], self.observed[worlds]
        chunk = policy_rules.decode(self.policy, before, noise.to(before.features.device))[:, : self.horizon]
        chunk = chunk if editor is None else editor.edit(before, chunk)
        check_worlds_finite(chunk, worlds, "chunk")
        outcome = self._execute(chunk, worlds).of(worlds)
        self.ended[worlds], self._fresh = outcome.terminated | outcome.truncated, False
        self._left[worlds] -= outcome.env_steps
        task_rules.check_length(self.task, self._left, self.ended)
        continuing = ~self.ended[worlds]
        if continuing.any() or (observe_truncated and outcome.truncated.any()):
            self._observe(worlds[continuing | outcome.truncated] if observe_truncated else worlds[continuing])
        self.decision = Decision(before, chunk, self.encoding[worlds], observed, self.observed[worlds])
        self.busy = False
        return outcome

    @torch.no_grad()
    def decode(self, encoding: Encoding, vectors: Tensor) -> Tensor:
        """Decode noise vectors [B, dim] of any length into executed chunks [B, horizon, A], on the vectors' device.

        Context tensors that were stored in another precision are cast back to the policy's.
        """
        latest = encoding if self.encoding is None else self.encoding
        own = {key: value.to(latest.context.get(key, value)) for key, value in encoding.context.items()}
        features, noise = (one.to(latest.features.device) for one in (encoding.features, self.noise.expand(vectors)))
        return policy_rules.decode(self.policy, Encoding(features, own), noise)[:, : self.horizon].to(vectors)

    @torch.no_grad()
    def reencode(self, observation: Observation, vectors: Tensor) -> Tensor:
        """Encode stored observations again and decode noise vectors [B, dim] there: chunks [B, horizon, A]."""
        batches = torch.split(torch.arange(len(vectors)), ENCODED_AT_ONCE)
        chunks = [self.decode(policy_rules.encode(self.policy, observation[rows]), vectors[rows]) for rows in batches]
        return torch.cat([vectors.new_zeros(0, *self.chunk_shape), *chunks])

    def reset(self, env_id: Ids = None, seeds: Sequence[int] | None = None) -> tuple[Floats, Infos]:
        """Start new episodes in the named worlds (all, if None): features [n, F] and info [n].

        Without `seeds`, they are drawn from the stream that `seed` started, from 2**30 up.
        """
        worlds = self._rows(env_id)
        self.reset_worlds(worlds, self.draw_seeds(len(worlds)) if seeds is None else seeds)
        return self._features(worlds), self._info(worlds)

    def step(self, action: Floats, id: Ids = None) -> tuple[Floats, Floats, Bools, Bools, Infos]:
        """Execute one decision by noise vectors [n, dim]: features, reward, terminated, truncated, info, each [n]."""
        worlds = self._rows(id)
        done = self.decide(self.noise.expand(torch.as_tensor(action, dtype=torch.float32)), worlds, self.editor)
        reward, terminated, truncated = (flow.numpy() for flow in (done.reward, done.terminated, done.truncated))
        return self._features(worlds), reward, terminated, truncated, self._info(worlds, done)

    def current(self) -> tuple[Floats, Infos]:
        """Return features [B, F] and info [B] of all worlds, as `reset` would."""
        return self._features(self._rows(None)), self._info(self._rows(None))

    def state_dict(self, *, worlds: bool = True) -> StateDict:
        """Return random streams and, if asked for, worlds: None where those in mid-episode cannot be saved."""
        streams = [self._seed_stream.bit_generator.state, self.action_space.np_random.bit_generator.state]
        return {"random": streams, "worlds": self._worlds_state() if worlds else None}

    def load_random_state(self, streams: Sequence[Any]) -> None:
        """Restore the random streams alone, the entry `random` of a `state_dict`."""
        self._seed_stream.bit_generator.state, self.action_space.np_random.bit_generator.state = streams

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Restore a `state_dict`; False where new episodes had to be started instead."""
        self.load_random_state(state["random"])
        worlds = state["worlds"]
        self.reset_worlds(self._rows(None), self.draw_seeds(len(self)) if worlds is None else worlds["seeds"])
        if worlds is None or worlds["task"] is None:
            return worlds is not None
        assert isinstance(self.task, Restorable)  # a simulator can only be restored once it has been started
        assert self.encoding is not None
        self.task.load_state_dict(worlds["task"])
        device = self.encoding.features.device
        context = {key: value.to(device) for key, value in worlds["context"].items()}
        self.encoding = Encoding(worlds["features"].to(device), context)
        numbers, images, sentences = worlds["observed"]
        self.observed = Observation(numbers, images, tuple(sentences))
        self.ended, self._fresh = worlds["ended"].clone(), False
        self._left = worlds.get("left", self._left).clone()  # checkpoints of earlier runs lack it
        return True

    def _worlds_state(self) -> StateDict | None:
        if self.busy:  # an error left them anywhere
            return None
        if self._fresh:  # seeds determine all
            return {"seeds": self.seeds.tolist(), "task": None}
        task = self.task.state_dict() if isinstance(self.task, Restorable) else None
        if task is None or self.encoding is None or self.observed is None:
            return None
        return {
            "seeds": self.seeds.tolist(),
            "ended": self.ended.clone(),
            "left": self._left.clone(),
            "task": task,
            "features": self.encoding.features,
            "context": dict(self.encoding.context),
            "observed": [self.observed.state, dict(self.observed.images), list(self.observed.instruction)],
        }

    def _execute(self, chunk: Tensor, worlds: Tensor) -> Outcome:
        """Play the chunk [n, T, A] in `worlds` while all others, and those that end on the way, hold still."""
        active = torch.isin(torch.arange(len(self)), worlds).to(task_rules.hold(self.task).device)
        plan = torch.zeros(len(self), *chunk.shape[1:], device=active.device)
        plan[worlds] = chunk.to(plan)
        outcome = Outcome.zeros(len(self), active.device)
        for t in range(self.horizon):
            step = task_rules.step(self.task, plan[:, t], active)
            paid = torch.where(active, step.reward, 0.0)
            check_worlds_finite(paid, torch.arange(len(self)), "reward", "check the reward of the task's environment")
            outcome.reward.add_(paid)
            outcome.env_steps.add_(active)
            outcome.terminated.logical_or_(active & step.terminated)
            outcome.truncated.logical_or_(active & step.truncated & ~step.terminated)
            if step.success is not None:
                outcome.success.logical_or_(active & step.success)
            active = active & ~(step.terminated | step.truncated)
            if not active.any():
                break
            due = active.cpu() & history.due(self.policy, self._left.clamp(max=self.horizon), t)
            if due.any():
                self.observed = history.update(self.observed, self.task, due.nonzero()[:, 0])
        return outcome

    def _observe(self, worlds: Tensor, *, at_start: bool = False) -> None:
        """Encode `worlds` as they are now, into their rows of `encoding` and `observed`."""
        self.observed = history.update(self.observed, self.task, worlds, history.length(self.policy) if at_start else 0)
        encoding = policy_rules.encode(self.policy, self.observed[worlds])
        check_worlds_finite(encoding.features, worlds, "features")
        if self.encoding is None:
            policy_rules.try_rules(self.policy, self.observed[worlds], encoding.features.device)
        if torch.equal(worlds, torch.arange(len(self))):
            self.encoding = encoding
        elif self.encoding is not None:
            self.encoding = self.encoding.with_rows(encoding, worlds)
        else:  # the other worlds have ended: nothing reads their rows before a reset
            rows = torch.zeros(len(self), dtype=torch.int64)
            self.encoding = encoding[rows.index_copy(0, worlds, torch.arange(len(worlds)))]

    def _features(self, worlds: Tensor) -> Floats:
        assert self.encoding is not None
        return self.encoding.features[worlds].float().cpu().numpy()

    def _info(self, worlds: Tensor, outcome: Outcome | None = None) -> Infos:
        outcome = outcome or Outcome.zeros(len(worlds))
        rows = zip(outcome.success.tolist(), outcome.env_steps.tolist(), self.seeds[worlds.numpy()], strict=True)
        return np.array([{"success": won, "env_steps": n, "seed": int(seed)} for won, n, seed in rows], dtype=object)

    def _rows(self, ids: Ids) -> Tensor:
        return torch.arange(len(self)) if ids is None else torch.as_tensor(np.atleast_1d(ids), dtype=torch.int64)


def _check_fit(task: Task, policy: Policy, noise: Noise, horizon: int) -> None:
    length, action_dim = policy.chunk_shape
    if not 1 <= horizon <= min(length, task.max_steps):
        reason = f"the policy's chunks have {length} actions and an episode has {task.max_steps} control steps"
        raise ValueError(f"horizon={horizon} must be between 1 and {min(length, task.max_steps)}: {reason}")
    if task.action_dim != action_dim:
        sizes = f"policy emits {action_dim}-dim actions but the task takes {task.action_dim}"
        raise ValueError(f"{sizes}; choose a checkpoint for this robot or another task.control")
    noise_rules.try_rules(noise, policy.noise_shape)
