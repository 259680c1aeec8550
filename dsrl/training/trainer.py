"""The training loop: the base policy plays, the critics look, then play and learning take turns.

    recorded decisions, warm-up (noise ~ N(0, I)) -> algorithm.warm_up -> evaluate, save
        -> [ updates on those alone ] ...                                   every eval_every updates: evaluate, save
        -> [ one decision in every world -> utd updates per decision ] ...  every eval_every decisions: evaluate, save

tianshou's collector, buffer and algorithm do the work. The loop is ours because tianshou's trainer scans the whole
buffer for NaN at each step and returns only the statistics of its last update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.data import Collector, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step

from dsrl.evaluation.diagnostics import diagnose
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.files import Tree
from dsrl.training import random_state as snapshot
from dsrl.training.figures import checked_means
from dsrl.training.figures import numbers as numbers
from dsrl.training.metrics import Counters as Counters
from dsrl.training.metrics import Diary, Metrics
from dsrl.training.replay_buffer import Replay
from dsrl.training.replay_buffer import make_buffer as make_buffer
from dsrl.training.replay_format import NOISE, Recorder, buffer_length


class Learner(Protocol):
    """What the loop asks of an algorithm, beyond being tianshou's."""

    policy: Any
    replay: str  # what replay keeps of a decision: one of dsrl.training.replay_format's
    bounded: bool  # whether its noise stays within ±magnitude; the base policy's in warm-up does as it does

    def state_dict(self) -> dict[str, Any]:
        """Networks, targets, optimisers and temperature."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take over a `state_dict`."""

    def warm_up(self, buffer: ReplayBuffer, batch_size: int) -> Sequence[TrainingStats]:
        """Learn from the warm-up data what must be known before the actor moves."""

    def learn(self, buffer: ReplayBuffer, batch_size: int, updates: int) -> Sequence[TrainingStats]:
        """Learn after a round of play: `updates` gradient steps on `batch_size` transitions, and what follows them."""


class Elsewhere(Protocol):
    """Decisions that were taken elsewhere."""

    def __len__(self) -> int:
        """How many there are."""

    def write(self, replay: str, add: Callable[[Any], None]) -> None:
        """Hand all of them to `add`, as tianshou's rollouts with what `replay` keeps of looks."""


class Evaluated(Protocol):
    """The result of an evaluation."""

    @property
    def score(self) -> float:
        """What chooses the best checkpoint; larger is better."""

    def summary(self) -> Mapping[str, Any]:
        """Its figures by name; those that are not numbers are not logged."""


class Keeper(Protocol):
    """Keeps what a loop needs to go on; `take` is called where it does, `decisions` have been taken by then."""

    former: Tree | None  # what `take` gave in the run that is continued

    def border(self, take: Callable[[], Tree], decisions: int) -> None:
        """All worlds begin new episodes: from here every task can go on exactly."""

    def pause(self, take: Callable[[], Tree], decisions: int) -> None:
        """A round is over; raises where the run has to stop here."""


def train(
    *,
    env: NoiseActionEnv,
    algorithm: Learner,
    decisions: int,
    warmup_decisions: int,
    utd: float,
    batch_size: int,
    buffer_size: int,
    eval_every: int,
    log_every: int = 100,
    evaluate: Callable[[], Evaluated],
    log: Callable[[Metrics, Counters], None],
    save: Callable[[Literal["best", "last"]], None],
    seed: int,
    recorded: Elsewhere | None = None,
    recorded_updates: int = 0,
    recorded_share: float | None = None,
    on_progress: Callable[[Counters, Metrics], None] | None = None,
    stop: Callable[[], bool] | None = None,
    keeper: Keeper | None = None,
) -> Counters:
    """Train `algorithm` in `env` for `decisions` decisions, the first `warmup_decisions` of them the base policy's.

    `utd` gradient steps follow per decision. Every `log_every` decisions `log` gets the figures of that stretch. After
    warm-up, before the actor has moved, every `eval_every` decisions and at the end it gets diagnostics, `evaluate` is
    called, "last" is saved, and "best" if never beaten (evaluation may use `env`: play resumes in new episodes).
    `on_progress` is called after each round of all worlds, and `stop` after each evaluation but the first: where it
    says so, training ends early. What was `recorded` elsewhere is in replay from the start and for good, and
    `recorded_share` of each batch (None: its share of replay) is drawn from it; `recorded_updates` gradient steps come
    after warm-up, before the actor plays, and there may be no play at all.
    The result depends on nothing but `seed`, the parts and their state. With a `keeper` the loop goes on where a former
    one was, and both together do what one would have done; without the worlds' state, from its latest evaluation.

    Raises ValueError where warm-up leaves nothing to learn, FloatingPointError naming the first figure not finite.
    """
    if not 0 <= warmup_decisions < decisions + (recorded_updates > 0):
        raise ValueError(f"warmup_decisions is {warmup_decisions} but decisions is {decisions}; warm up for fewer")
    snapshot.start_randomness(seed, env)
    env.action_space.clips = algorithm.bounded
    num_recorded = 0 if recorded is None else len(recorded)
    length = buffer_length(buffer_size, decisions, len(env))
    buffer = make_buffer(length, len(env), seed, recorded=num_recorded, share=recorded_share)
    if recorded is not None:
        recorded.write(algorithm.replay, buffer.record)
    recorder = None if algorithm.replay == NOISE else Recorder(env, algorithm.replay)
    diary = Diary(len(env), env.has_success, recorder)
    collector = Collector(algorithm.policy, env, buffer, on_step_hook=diary.write)
    loop = _Loop(algorithm, env, buffer, collector, diary, batch_size)
    report = on_progress or (lambda counters, metrics: None)
    loop.begin(None if keeper is None else keeper.former)

    while diary.counters.decisions < warmup_decisions:
        loop.play(random=True)
        report(diary.counters, diary.recent())
        if keeper is not None:
            keeper.pause(loop.state, diary.counters.decisions)
    if loop.warmed_up_at is None:
        loop.warmed_up_at = diary.counters.decisions
        if len(buffer):
            loop.warm_up()
            log(loop.figures(), diary.counters)
        loop.validate(evaluate, log, save)
        loop.begin_anew(keeper)

    while loop.offline < recorded_updates:
        before = loop.offline
        loop.learn_offline(min(max(1, int(len(env) * utd)), recorded_updates - before))
        report(diary.counters, diary.recent())
        finished = loop.offline >= recorded_updates
        if finished or _crossed(before, loop.offline, log_every):
            log(loop.figures(), diary.counters)
        if finished or _crossed(before, loop.offline, eval_every):
            loop.validate(evaluate, log, save)
            if stop is not None and stop():
                return diary.counters
            loop.begin_anew(keeper)
        if keeper is not None:
            keeper.pause(loop.state, diary.counters.decisions)

    while diary.counters.decisions < decisions:
        before = diary.counters.decisions
        loop.play(random=False)
        loop.learn(int((diary.counters.decisions - loop.warmed_up_at) * utd))
        report(diary.counters, diary.recent())
        finished = diary.counters.decisions >= decisions
        if finished or _crossed(before, diary.counters.decisions, log_every):
            log(loop.figures(), diary.counters)
        if finished or _crossed(before, diary.counters.decisions, eval_every):
            loop.validate(evaluate, log, save)
            if stop is not None and stop():
                break
            loop.begin_anew(keeper)
        if keeper is not None:
            keeper.pause(loop.state, diary.counters.decisions)
    return diary.counters


class _Loop:
    """The three things a round does, how far they have got, and the figures of the rounds since the last report."""

    def __init__(
        self,
        algorithm: Learner,
        env: NoiseActionEnv,
        buffer: Replay,
        collector: Collector[Any],
        diary: Diary,
        batch_size: int,
    ) -> None:
        self.algorithm, self.env, self.buffer = algorithm, env, buffer
        self.collector, self.diary, self.batch_size = collector, diary, batch_size
        self.warmed_up_at: int | None = None  # decisions
        self.best = -float("inf")  # score
        self.offline = 0  # gradient steps between warm-up and play
        self._learned = 0  # gradient steps after warm-up
        self._figures: list[Metrics] = []

    def state(self, *, border: bool = False) -> Tree:
        """All that `begin` needs; at a `border` all worlds have just been reset."""
        return {
            "algorithm": self.algorithm.state_dict(),
            "replay": snapshot.replay(self.buffer),
            "worlds": snapshot.worlds(self.env, border=border),
            "random": snapshot.randomness(self.env, self.buffer),
            "diary": self.diary.state(),
            "counts": [self.warmed_up_at, self.best, self.offline, self._learned],
            "figures": self._figures,
        }

    def begin(self, former: Tree | None) -> None:
        """Reset all worlds, or go on where `former` was taken."""
        if former is None:
            self.collector.reset_env()
            return
        self.algorithm.load_state_dict(former["algorithm"])
        snapshot.restore_replay(self.buffer, former["replay"])
        self.diary.restore(former["diary"])
        self.warmed_up_at, self.best, self.offline, self._learned = former["counts"]
        self._figures = list(former["figures"])
        snapshot.restore_randomness(former["random"], self.env, self.buffer)
        if snapshot.restore_worlds(self.env, self.collector, former["worlds"]):
            snapshot.restore_randomness(former["random"], self.env, self.buffer)
        else:
            self.diary.forget_unfinished()

    def play(self, *, random: bool) -> None:
        """One decision in every world."""
        with policy_within_training_step(self.algorithm.policy):
            self.collector.collect(n_step=self.collector.env_num, random=random)

    def warm_up(self) -> None:
        """The algorithm's own warm-up."""
        with policy_within_training_step(self.algorithm.policy):
            self._book(self.algorithm.warm_up(self.buffer, self.batch_size))

    def learn_offline(self, updates: int) -> None:
        """`updates` gradient steps without play."""
        self.offline += updates
        self.learn(0)

    def learn(self, total: int) -> None:
        """The gradient steps that are missing to `total` since warm-up, besides those without play."""
        total += self.offline
        with policy_within_training_step(self.algorithm.policy):
            self._book(self.algorithm.learn(self.buffer, self.batch_size, total - self._learned))
        self._learned = total

    def validate(
        self,
        evaluate: Callable[[], Evaluated],
        log: Callable[[Metrics, Counters], None],
        save: Callable[[Literal["best", "last"]], None],
    ) -> None:
        """Diagnose and evaluate the algorithm as it is, and save it."""
        log(diagnose(self.env, self.algorithm), self.diary.counters)
        result = evaluate()
        log(numbers(result.summary()), self.diary.counters)
        if result.score >= self.best:
            self.best = result.score
            save("best")
        save("last")

    def begin_anew(self, keeper: Keeper | None) -> None:
        """New episodes in all worlds, and a checkpoint there."""
        self.collector.reset_env()
        self.diary.forget_unfinished()
        if keeper is not None:
            keeper.border(lambda: self.state(border=True), self.diary.counters.decisions)

    def figures(self) -> Metrics:
        """Means since the last call, and the latest episodes."""
        names = dict.fromkeys(name for figures in self._figures for name in figures)
        means = {name: float(np.mean([f[name] for f in self._figures if name in f])) for name in names}
        self._figures = []
        return {**self.diary.recent(), **means}

    def _book(self, stats: Sequence[TrainingStats]) -> None:
        if stats:
            count = self.diary.counters.gradient_steps + len(stats)
            self.diary.counters = replace(self.diary.counters, gradient_steps=count)
            self._figures.append(checked_means(stats, count))


def _crossed(before: int, now: int, every: int) -> bool:
    return now // every > before // every
