"""Trains an algorithm that learns by gradients, in three phases whose rounds end in the same way.

    warm_up         the base policy plays (noise ~ N(0, I)) -> algorithm.warm_up -> validate, and w = 0
    clone           [ the actor clones the noise of recorded decisions ] ... -> validate        only where requested
    learn_offline   [ updates on warm-up and offline data ] ...            every eval_every updates: validate
    learn_online    [ one decision in every world -> utd updates per decision ] ...   every eval_every decisions

tianshou's collector, buffer and algorithm do the work. The loop is ours because tianshou's trainer scans the whole
buffer for NaN at each step and returns only the statistics of its last update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tianshou.utils.torch_utils import policy_within_training_step

from dsrl.edits import EditsChunks
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.collector import make_collector
from dsrl.training.loop import Checkpointer, LowersDiscount, Monitor, NoCheckpoints, Validator, restoring
from dsrl.training.metrics import Counters, EpisodeStats, UpdateStats
from dsrl.training.offline_use import Offline
from dsrl.training.random_state import seed_everything
from dsrl.training.replay_buffer import Replay
from dsrl.training.replay_format import Recorder
from dsrl.training.replay_memory import buffer_length, draws_of
from dsrl.training.trainer_state import TrainerState, Validation
from dsrl.training.validation_schedule import ValidationSchedule

CLONED_AT_ONCE = 100  # gradient steps of cloning between checks for a signal


class Trainer(TrainerState):
    """Trains `algorithm` in `env`; the result depends only on `seed`, the parts and their state.

    It trains for `decisions` decisions, the first `warmup_decisions` of them the base policy's, with `utd` gradient
    steps per decision. `monitor` logs every `log_every` decisions; after warm-up, every `eval_every` decisions (see
    `ValidationSchedule`) and at the end it validates and saves. `offline` transitions are in replay from the start and
    never overwritten; with gradient steps on them, `decisions` may equal `warmup_decisions`. `success_share` of each
    batch (None: their share of replay) is drawn from episodes that ended with success. With a `checkpointer` training
    continues with the result of one process; where worlds in mid-episode cannot be saved, in new episodes.
    """

    def __init__(
        self,
        env: NoiseActionEnv,
        algorithm: Any,
        monitor: Monitor,
        *,
        decisions: int,
        warmup_decisions: int,
        utd: float,
        batch_size: int,
        buffer_size: int,
        eval_every: int,
        seed: int,
        log_every: int = 100,
        offline: Offline | None = None,
        success_share: float | None = None,
        checkpointer: Checkpointer | None = None,
    ) -> None:
        """Seed everything and fill replay with `offline`; raises ValueError where warm-up leaves nothing to learn."""
        self.offline_updates, self._cloning_updates = (offline.updates, offline.cloning_updates) if offline else (0, 0)
        if not 0 <= warmup_decisions < decisions + (self.offline_updates > 0):
            raise ValueError(f"warmup_decisions={warmup_decisions} must be below decisions={decisions}")
        self.env, self.algorithm, self.monitor = env, algorithm, monitor
        self.decisions, self.warmup_decisions = decisions, warmup_decisions
        self.utd, self.batch_size = utd, batch_size
        self.schedule, self.log_every = ValidationSchedule(eval_every, len(env), env.longest_episode), log_every
        self._checkpointer: Checkpointer = checkpointer or NoCheckpoints()

        self.draws = draws_of(algorithm)
        seed_everything(seed)
        env.seed(seed)
        env.action_space.clips = algorithm.bounded
        self.buffer = self._replay(buffer_size, seed, offline, success_share)
        self.stats, self.updates = EpisodeStats(len(env), env.has_success), UpdateStats()
        self.validator = Validator(env, algorithm, monitor)
        self._recorder = Recorder(env, algorithm.replay, self.draws)
        self.collector = make_collector(algorithm.policy, env, self.buffer, self._on_decision)

    def _replay(self, size: int, seed: int, offline: Offline | None, success_share: float | None) -> Replay:
        """Return replay for `size` transitions of play, or all of a shorter run, with those of `offline` in it."""
        size = buffer_length(size, self.decisions, len(self.env))
        options: dict[str, Any] = {"success_share": success_share, "longest_episode": self.env.longest_episode}
        if offline is None:
            return Replay(size, len(self.env), seed, **options)
        buffer = Replay(size, len(self.env), seed, offline=len(offline.transitions), share=offline.share, **options)
        offline.transitions.write(self.algorithm.replay, buffer, self.draws)
        return buffer

    def train(self) -> Counters:
        """Run all phases, or those that a previous process left.

        Raises FloatingPointError naming the first number that is not finite.
        """
        if self._checkpointer.previous is None:
            self.collector.reset_env()
        else:
            with restoring():
                self.load_state_dict(self._checkpointer.previous)
                self._checkpointer.restored(self.stats.counters.decisions)
        if self.pending == "round" and self._due() > self.learned:  # a reset failed after the last decision
            self._learn()
        if self.pending and self._validate(self.pending):
            return self.stats.counters
        self.warm_up()
        self.clone()
        stopped = self.learn_offline()
        if not stopped:
            self.learn_online()
        return self.stats.counters

    def warm_up(self) -> None:
        """Play the base policy, let the algorithm learn from it before the actor's first step, and validate."""
        while self.stats.counters.decisions < self.warmup_decisions:
            self._play(random=True)
            self.monitor.show(self.stats.counters, self.stats.recent())
            self._save_if_due()
        if self.warmed_up_at is not None:
            return
        self.warmed_up_at = self.stats.counters.decisions
        if len(self.buffer):
            with self._noting_discount(), policy_within_training_step(self.algorithm.policy):
                self._count(self.algorithm.warm_up(self.buffer, self.batch_size))
            self._log()
        self.validator.diagnose(self.stats.counters)
        self._validate("start")

    def _discount(self) -> float:
        return self.algorithm.gamma if isinstance(self.algorithm, LowersDiscount) else 1.0

    @contextmanager
    def _noting_discount(self) -> Iterator[None]:
        """Show that the block, warm-up or what follows the first reward, has lowered the discount, where it did."""
        before = self._discount()
        yield
        after = self._discount()
        if after < before:
            self.monitor.note(
                f"gamma lowered from {before:.3g} to {after:.3g}: episodes are short, and a success at the time limit "
                f"now counts {self.algorithm.discount_at_limit / after:.3g} of one at once (sac.discount_at_limit)"
            )

    def clone(self) -> None:
        """Clone the noise of recorded decisions whose episode succeeds, and validate."""
        while self.cloned < self._cloning_updates:
            due = min(CLONED_AT_ONCE, self._cloning_updates - self.cloned)
            successes = self.buffer.offline_successes()
            stats = self.algorithm.clone(self.buffer, successes, self.batch_size, due)
            self.updates.add(stats, self.stats.counters.gradient_steps)
            self.cloned += due
            if self.cloned == self._cloning_updates:
                self._log()
                self.validator.diagnose(self.stats.counters)
                self._validate("clone")
            self._save_if_due()

    def learn_offline(self) -> bool:
        """Learn without play; returns whether training ends early."""
        while self.offline_done < self.offline_updates:
            before = self.offline_done
            self.offline_done = min(before + max(1, int(len(self.env) * self.utd)), self.offline_updates)
            self._learn()
            self.monitor.show_updates(self.offline_done, self.stats.recent())
            finished = self.offline_done >= self.offline_updates
            due = _crossed(before, self.offline_done, self.schedule.every)
            if self._end_round(before, self.offline_done, finished=finished, due=due):
                return True
        return False

    def learn_online(self) -> bool:
        """Play one decision in every world and learn, in turn; returns whether training ends early."""
        while self.stats.counters.decisions < self.decisions:
            before = self.stats.counters.decisions
            self._play(random=False)
            self._learn()
            self.monitor.show(self.stats.counters, self.stats.recent())
            now = self.stats.counters.decisions
            if self._end_round(before, now, finished=now >= self.decisions, due=self.schedule.due(now)):
                return True
        return False

    def _end_round(self, before: int, now: int, *, finished: bool, due: bool) -> bool:
        """Log, validate (where it is `due`) and save, each where it is time; returns whether training ends early."""
        if finished or _crossed(before, now, self.log_every):
            self._log()
        if finished or due:
            self.validator.diagnose(self.stats.counters)
            if self._validate("round"):
                return True
        self._save_if_due()
        return False

    def _validate(self, which: Validation) -> bool:
        """Validate and begin new episodes; returns whether training ends early. It can be repeated where it fails."""
        self.pending, counters = which, self.stats.counters
        save = self._checkpointer.prepared(self.state_dict(), counters.decisions, self._updates_alone())
        if which == "start":  # nothing was saved before, and a killed process saves nothing
            save()
        with self._saving_at_failure(save, any_error=True):
            if which == "start":
                self.validator.validate_start(counters)
            else:
                self.validator.validate(counters)
        self.pending = None
        if which == "round" and self.monitor.should_stop():
            return True
        with self._saving_at_failure(self._save_whole_round):
            self._reset_worlds()
        return False

    @contextmanager
    def _saving_at_failure(self, save: Callable[[], None], *, any_error: bool = False) -> Iterator[None]:
        """Call `save` where task or policy fail in the block: they, unlike a learner, may do better another time.

        `any_error`: also where anything else fails, for a state from before the block.
        """
        try:
            yield
        except (Exception, SystemExit):
            if self.env.busy or any_error:
                with suppress(Exception):  # the failure itself is what ends the run
                    save()
            raise

    def _save_whole_round(self) -> None:
        """Save without the worlds, after a failure in which replay got either all or none of a decision of each."""
        self.pending = "round" if self.is_over() else None
        self._checkpointer.prepared(self.state_dict(), self.stats.counters.decisions, self._updates_alone())()

    def _play(self, *, random: bool) -> None:
        """Play one decision in every world; the base policy's chunks, of a random play, are not edited."""
        self.env.editor = self.algorithm if not random and isinstance(self.algorithm, EditsChunks) else None
        with self._saving_at_failure(self._save_whole_round), policy_within_training_step(self.algorithm.policy):
            self.collector.collect(n_step=self.collector.env_num, random=random)

    def _on_decision(self, _: Any, rollout: Any) -> None:
        """Complete a rollout before it enters the buffer: tianshou's step hook."""
        self._recorder.write(rollout)
        self.stats.update(rollout)

    def _learn(self) -> None:
        """Take the gradient steps that are due."""
        due = self._due()
        with self._noting_discount(), policy_within_training_step(self.algorithm.policy):
            self._count(self.algorithm.learn(self.buffer, self.batch_size, due - self.learned))
        self.learned = due

    def _due(self) -> int:
        """Return the number of gradient steps that play and updates without it have asked for."""
        played = self.stats.counters.decisions - (self.warmed_up_at or 0)
        return int(played * self.utd) + self.offline_done

    def _count(self, stats: Sequence[Any]) -> None:
        self.stats.add_gradient_steps(len(stats))
        self.updates.add(stats, self.stats.counters.gradient_steps)

    def _log(self) -> None:
        self.monitor.log({**self.stats.recent(), **self.updates.take()}, self.stats.counters)

    def _reset_worlds(self) -> None:
        """Start new episodes in all worlds, unless nothing is played any more, and save a checkpoint there."""
        self.buffer.cut_episodes()
        self.stats.drop_unfinished()
        self.schedule.last = self.stats.counters.decisions
        if not self.is_over():
            self.collector.reset_env()
        self._checkpointer.save_at_reset(self.state_dict, self.stats.counters.decisions, self._updates_alone())

    def _save_if_due(self) -> None:
        self._checkpointer.save_if_due(self.state_dict, self.stats.counters.decisions, self._updates_alone())

    def _updates_alone(self) -> int:
        return self.offline_done + self.cloned


def _crossed(before: int, now: int, every: int) -> bool:
    return now // every > before // every
