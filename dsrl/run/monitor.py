"""The learning phase of a run: what it shows, logs and saves, and what one process of it hands to the next."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dsrl.evaluation import report
from dsrl.evaluation.collapse import collapse
from dsrl.evaluation.episodes import Evaluation, chosen_noise
from dsrl.evaluation.episodes import evaluate as play
from dsrl.evaluation.report import shown
from dsrl.logging import Logger
from dsrl.run.console import Screen
from dsrl.run.files import Tree
from dsrl.run.folder import RunFolder
from dsrl.run.resume import Continuation
from dsrl.training.metrics import Counters
from dsrl.training.successive_halving import Searcher, search
from dsrl.training.trainer import train as learn

if TYPE_CHECKING:
    from dsrl.run.build import Parts


class Training:
    """The learning phase: what it shows, logs and saves along the way, and hands from one process to the next."""

    def __init__(
        self, parts: Parts, folder: RunFolder, loggers: Sequence[Logger], screen: Screen, thread: Continuation
    ) -> None:
        self.parts, self.folder, self.loggers, self.screen, self.thread = parts, folder, loggers, screen, thread
        self.algorithm = parts.make_algorithm()
        self.curve: list[report.CurvePoint] = []
        self.base: Evaluation | None = None
        self.collapse: str | None = None  # the sentence that said so
        self._counters, self._best = Counters(), None
        self._begin = self._training_begin = time.monotonic()
        self.setup_seconds, self._trained = 0.0, 0.0  # in this process; in those before
        self._go_on(thread.workflow)
        thread.gathers(self._state)

    @property
    def seconds(self) -> float:
        """Time of work besides building the simulation, in this process and in those that it continues."""
        return time.monotonic() - self._begin - self.setup_seconds

    def _state(self) -> Tree:
        return {
            "curve": [(point.env_steps, point.decisions, point.evaluation.plain()) for point in self.curve],
            "best": self._best,
            "collapse": self.collapse,
            "counters": asdict(self._counters),
            "loggers": {type(logger).__name__: logger.position() for logger in self.loggers},
            "seconds": [self.seconds, time.monotonic() - self._training_begin],
        }

    def _go_on(self, former: Tree | None) -> None:
        """Take over what an earlier process told; what it logged and saved beyond is forgotten."""
        positions = {} if former is None else former["loggers"]
        for logger in self.loggers:
            logger.rewind(positions.get(type(logger).__name__))
        if former is None:
            return
        self.curve = [report.CurvePoint(steps, n, Evaluation.of_plain(one)) for steps, n, one in former["curve"]]
        self._best, self.collapse = former["best"], former["collapse"]
        self._counters = Counters(**former["counters"])
        total, self._trained = former["seconds"]
        self._begin -= total
        if self._best is not None:
            self.folder.save("best", self._best)

    def run(self) -> Counters:
        """Train from the first decision to the last."""
        settings = self.parts.settings
        self._training_begin = time.monotonic() - self._trained
        alone = f"{settings.offline_updates} updates without play, then " if settings.offline_updates else ""
        self.screen.phase(
            f"training for {alone}{settings.decisions} decisions, validated first and every {settings.eval_every} "
            f"on {settings.validation_episodes} other worlds …"
        )
        with self.screen.live("training", settings.decisions, "decisions") as self._line:
            if isinstance(self.algorithm, Searcher):
                return search(searcher=self.algorithm, decisions=settings.decisions, **self._outlets())
            return learn(
                algorithm=self.algorithm,
                decisions=settings.decisions,
                warmup_decisions=settings.warmup_decisions,
                utd=settings.utd,
                batch_size=settings.batch_size,
                buffer_size=settings.buffer_size,
                eval_every=settings.eval_every,
                recorded=self.parts.recorded,
                recorded_updates=settings.offline_updates,
                recorded_share=settings.offline_share,
                stop=self._collapsed,
                **self._outlets(),
            )

    def _outlets(self) -> dict[str, Any]:
        """The environment, the seed, and where a loop's results go."""
        return {
            "env": self.parts.env,
            "seed": self.parts.settings.seed,
            "evaluate": self._validate,
            "log": self._log,
            "save": self._save,
            "keeper": self.thread,
            "on_progress": self._show,
        }

    def _save(self, name: str) -> None:
        state = self.algorithm.state_dict()
        self.folder.save(name, state)
        if name == "best":
            self._best = deepcopy(state)

    def _validate(self) -> Evaluation:
        settings = self.parts.settings
        env, episodes = self.parts.env, settings.validation_episodes
        act = chosen_noise(env, self.algorithm, self.parts.noise, best_of=settings.best_of)
        result = play(env, act, episodes=episodes, first_seed=settings.validation_seed)
        self.curve.append(report.CurvePoint(self._counters.env_steps, self._counters.decisions, result))
        self.screen.phase(f"validation after {self._counters.decisions} decisions: {shown(result)}")
        return result

    def _collapsed(self) -> bool:
        """Say once that training has collapsed; whether to stop for it."""
        sentence = collapse([point.evaluation for point in self.curve], self.base)
        if sentence is not None and self.collapse is None:
            self.collapse = sentence
            self.screen.phase(sentence)
        return sentence is not None and self.parts.settings.stop_on_collapse

    def _log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        counts: dict[str, float] = {"decisions": counters.decisions, "gradient_steps": counters.gradient_steps}
        counts["wall_time_s"] = time.monotonic() - self._training_begin
        for logger in self.loggers:
            logger.log({**counts, **metrics}, counters.env_steps)

    def _show(self, counters: Counters, recent: Mapping[str, float]) -> None:
        self._counters = counters
        figure = "no episode has ended yet"
        if "train/success_rate" in recent:
            figure = f"success {recent['train/success_rate']:.0%}"
        elif "train/return" in recent:
            figure = f"return {recent['train/return']:.1f}"
        self._line.update(counters.decisions, figure)
