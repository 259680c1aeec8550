"""Saves everything that a trainer depends on, each part by its owner, and restores it.

a round has ended          env.worlds: as they are           restored: the same episodes, else new ones (None)
a validation is pending    env.worlds: None                  restored: it is played, then new episodes begin
all is played              env.worlds: None                  restored: new episodes where a longer run plays on
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from dsrl.interfaces import StateDict
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.loop import Validator, check_finite
from dsrl.training.metrics import EpisodeStats, UpdateStats
from dsrl.training.random_state import load_random_state_dict, random_state_dict
from dsrl.training.replay_buffer import Replay
from dsrl.training.replay_memory import check_stored
from dsrl.training.restored_numbers import check_count, check_counts
from dsrl.training.validation_schedule import ValidationSchedule

Validation = Literal["start", "clone", "round"]
"""A validation before the actor's first step, after cloning, or after a round."""


class TrainerState:
    """The parts of a trainer that checkpoints have, and its budget; `Trainer` sets them."""

    env: NoiseActionEnv
    algorithm: Any
    buffer: Replay
    collector: Any  # tianshou's
    stats: EpisodeStats
    updates: UpdateStats
    validator: Validator
    schedule: ValidationSchedule
    draws: int  # of the base policy's noise per stored state
    decisions: int  # to play
    offline_updates: int  # gradient steps to take between warm-up and play
    warmed_up_at: int | None = None  # decisions
    pending: Validation | None = None
    offline_done = 0  # gradient steps between warm-up and play
    cloned = 0  # gradient steps of cloning
    learned = 0  # gradient steps after it

    def is_over(self) -> bool:
        """Return whether all decisions were played, and all updates without play made."""
        return self.stats.counters.decisions >= self.decisions and self.offline_done >= self.offline_updates

    def state_dict(self) -> StateDict:
        """Return the state; its entry `exact` is whether training continues from it bit by bit.

        Raises FloatingPointError for an algorithm that is not finite: the checkpoint before stays.
        """
        new_episodes = self.pending is not None or self.is_over()  # episodes begin before the next decision
        env, algorithm = self.env.state_dict(worlds=not new_episodes), self.algorithm.state_dict()
        check_finite(algorithm)
        return {
            "exact": new_episodes or env["worlds"] is not None,
            "pending": self.pending,
            "algorithm": algorithm,
            "buffer": self.buffer.state_dict(),
            "env": env,
            "random": random_state_dict(),
            "episodes": self.stats.state_dict(),
            "updates": self.updates.state_dict(),
            "validator": self.validator.state_dict(),
            "last_validation": self.schedule.last,
            "counts": [self.warmed_up_at, self.offline_done, self.learned, self.cloned],
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Continue from a `state_dict`; where it has no worlds, in new episodes. Raises FloatingPointError."""
        check_finite(state["algorithm"], "the checkpoint's")
        self.algorithm.load_state_dict(state["algorithm"])
        check_stored(state["buffer"], self.env, self.algorithm.replay, self.buffer.played_size, self.draws)
        self.buffer.load_state_dict(state["buffer"])
        self.stats.load_state_dict(state["episodes"])
        self.updates.load_state_dict(state["updates"])
        self.validator.load_state_dict(state["validator"])
        self.warmed_up_at, self.offline_done, self.learned, self.cloned = (*state["counts"], 0)[:4]
        decisions = self.stats.counters.decisions
        self.schedule.last = state.get("last_validation", decisions)
        for name, one in (("warmed_up_at", self.warmed_up_at or 0), ("last_validation", self.schedule.last)):
            check_count(name, one, decisions)
        check_counts({"offline_done": self.offline_done, "learned": self.learned, "cloned": self.cloned})
        self.pending = state.get("pending")  # which earlier states lack
        if self.pending not in (None, *get_args(Validation)):
            raise ValueError(f"the pending validation is {self.pending!r:.60}, not one of {get_args(Validation)}")
        self._load_worlds(state)

    def _load_worlds(self, state: StateDict) -> None:
        """Restore worlds and random states; no episode begins that a validation would end, or that nobody plays."""
        if self.pending or self.is_over():
            self.env.load_random_state(state["env"]["random"])
            load_random_state_dict(state["random"])
            return
        renewed = state["env"]["worlds"] is None
        if renewed:
            load_random_state_dict(state["random"])  # first: what a reset draws, it draws in an undisturbed run, too
        if not self.env.load_state_dict(state["env"]):
            self.buffer.cut_episodes()
            self.stats.drop_unfinished()
        self.collector._pre_collect_obs_RO, self.collector._pre_collect_info_R = self.env.current()
        self.collector._pre_collect_hidden_state_RH = None
        if not renewed:
            load_random_state_dict(state["random"])  # last: starting a simulator and its first episodes draw, too
