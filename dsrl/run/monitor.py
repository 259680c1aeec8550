"""Monitors training: validates, logs, saves the best weights, shows progress and reports a collapse."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from dsrl.evaluation import report, video
from dsrl.evaluation.collapse import collapse
from dsrl.evaluation.digits import fixed
from dsrl.evaluation.episodes import Evaluation, evaluate
from dsrl.evaluation.noise_sources import evaluation_noise
from dsrl.interfaces import Searcher, StateDict
from dsrl.logging import Logger, ShowsResults, ShowsVideos
from dsrl.run.components.final_evaluation import record_video
from dsrl.run.components.parts import Parts
from dsrl.run.config.description import flat_results
from dsrl.run.saved.folder import RunFolder
from dsrl.run.saved.weights import check_bytes
from dsrl.run.terminal.console import LiveLine, Screen
from dsrl.training.loop import restoring
from dsrl.training.metrics import Counters, Metrics
from dsrl.training.restored_numbers import check_seconds
from dsrl.training.validation_schedule import decisions_apart


class Monitor:
    """The monitor of a training loop (`dsrl.training.loop.Monitor`), with the learning curve and time of a run."""

    def __init__(
        self, parts: Parts, folder: RunFolder, loggers: Mapping[str, Logger], screen: Screen, setup_seconds: float
    ) -> None:
        """`loggers` by their names in the group; `setup_seconds`: of building the simulation, which is over."""
        self.parts, self.folder, self.loggers, self.screen = parts, folder, loggers, screen
        self.base: Evaluation | None = None  # to be set before training
        self.curve: list[report.CurvePoint] = []
        self.best: tuple[str, float] | None = None  # name and score of the best checkpoint
        self._latest = ("", 0.0)  # name and score of the latest validation
        self.collapse: str | None = None  # the sentence that reports one
        self.setup_seconds = setup_seconds
        self._best: StateDict | None = None
        self._unused: dict[str, Any] = {}  # states of loggers that this process lacks, for later ones
        self._line: LiveLine | None = None
        self._counted: tuple[str, bool] | None = None  # by the line: its unit, and whether learning has begun
        self._begin = self._training_begin = time.monotonic()
        self._trained = 0.0  # seconds of training in previous processes

    @property
    def seconds(self) -> float:
        """Time of work besides building the simulation, in this process and previous ones."""
        return time.monotonic() - self._begin

    def times(self) -> dict[str, float]:
        """Return the times for summary.json in seconds: of work, of building the simulation, and now, since 1970."""
        return {"wall_time_s": self.seconds, "setup_time_s": self.setup_seconds, "end_time_s": time.time()}

    @property
    def best_score(self) -> float:
        """The score of the best validation: success rate, or mean return where the task defines no success."""
        assert self.best is not None
        return self.best[1]

    @property
    def best_name(self) -> str:
        """What the best checkpoint plays, as validations name it."""
        assert self.best is not None
        return self.best[0]

    @contextmanager
    def training(self) -> Iterator[None]:
        """Show a live line while the block trains."""
        settings = self.parts.settings
        self._training_begin = time.monotonic() - self._trained
        offline = f"{settings.offline_updates} updates without play, then " if settings.offline_updates else ""
        env, every = self.parts.env, settings.eval_every  # gradient steps where nothing is played
        apart = decisions_apart(every, len(env), env.longest_episode) if settings.decisions else every
        when = f"validation after warm-up and then every {apart}"
        if isinstance(self.parts.algorithm, Searcher):
            when = "validation after each round"
        self.screen.phase(
            f"training for {offline}{settings.decisions} decisions; {when}, "
            f"on {settings.validation_episodes} validation worlds …"
        )
        with self.screen.live("training", settings.decisions, "decisions") as self._line:
            yield

    def validate(self, counters: Counters) -> Evaluation:
        """Evaluate the algorithm on the validation worlds."""
        result = self._validated(self._name(counters))
        point = report.CurvePoint(counters.env_steps, counters.decisions, result, counters.gradient_steps)
        self.curve.append(point)
        return result

    def _name(self, counters: Counters) -> str:
        """Name a checkpoint, so that no two of a run are called alike."""
        name = f"after {counters.decisions} decisions"
        if not self.curve and not isinstance(self.parts.algorithm, Searcher):
            return f"{name}, before any learning"
        if self.curve and self.curve[-1].decisions == counters.decisions:  # learning without play, or cloning
            return f"{name} and {counters.gradient_steps} gradient steps"
        return name

    def validate_as(self, name: str) -> Evaluation | None:
        """Evaluate what the algorithm plays for once; None with best_of, which draws, and without a base policy."""
        if self.parts.settings.best_of is not None or self.parts.policy_sha256() is None:
            return None
        return self._validated(name, "of ")

    def note(self, sentence: str) -> None:
        """Show a sentence."""
        self.screen.phase(sentence)

    def _validated(self, name: str, preposition: str = "") -> Evaluation:
        settings = self.parts.settings
        act = evaluation_noise(self.parts.algorithm, self.parts.noise, best_of=settings.best_of)
        num, seed = settings.validation_episodes, settings.validation_seed
        result = evaluate(self.parts.env, act, episodes=num, first_seed=seed)
        self._latest = (name, result.score)
        self.screen.phase(f"validation {preposition}{name}: {report.shown(result)}")
        return result

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        """Log metrics with the counters and the time."""
        self.folder.check_in_place()  # as before everything that loggers write by the name of the folder
        counts: dict[str, float] = {"decisions": counters.decisions, "gradient_steps": counters.gradient_steps}
        counts["wall_time_s"] = time.monotonic() - self._training_begin
        for logger in self.loggers.values():
            logger.log({**counts, **metrics}, counters.env_steps)

    def log_results(self, results: Mapping[str, Evaluation], content: Mapping[str, Any], film: Path | None) -> None:
        """Log the final scores, the video that compares the policies, if any, and the numbers of summary.json."""
        self.folder.check_in_place()
        env_steps = content["env_steps"]
        names = ("base", "base_under_actor_noise", "zero_noise", "steered", "paired", "unpaired")
        shown = flat_results({name: content.get(name) for name in names})
        for logger in self.loggers.values():
            logger.log({f"final/{name}": result.score for name, result in results.items()}, env_steps)
            if film is not None and isinstance(logger, ShowsVideos):
                logger.video("base_vs_steered", film, env_steps)
            if isinstance(logger, ShowsResults):
                logger.results({**shown, "returned": content["returned"]})

    def save(self, name: Literal["best", "last"]) -> None:
        """Save the algorithm's weights; of the best ones a video, where a logger shows videos."""
        state = self.parts.algorithm.state_dict()
        self.folder.save(name, state)
        if name == "best":
            self.best = self._latest
            self._best = deepcopy(state)
            self._record_best()

    def _record_best(self) -> None:
        """Record the first validation worlds."""
        settings, viewers = self.parts.settings, [one for one in self.loggers.values() if isinstance(one, ShowsVideos)]
        num = min(settings.video_episodes, len(self.parts.env), settings.validation_episodes)
        if not viewers or not num or not video.can_record(self.parts.task):
            return
        point = self.curve[-1]
        self.screen.phase(f"recording a video of {num} of these worlds …")
        path = self.folder.videos / f"best_{point.decisions}.mp4"
        path.parent.mkdir(exist_ok=True)
        act = evaluation_noise(self.parts.algorithm, self.parts.noise, best_of=settings.best_of)
        seeds = range(settings.validation_seed, settings.validation_seed + num)
        content, _ = record_video(self.parts, [act], seeds)
        self.folder.write(path, content)
        for viewer in viewers:
            viewer.video("best", path, point.env_steps)

    def _best_of_curve(self) -> tuple[str, float] | None:
        """Return what the best checkpoint of an earlier version was."""
        if not self.curve:
            return None
        point = max(self.curve, key=lambda one: (one.evaluation.score, one.decisions))
        return f"after {point.decisions} decisions", point.evaluation.score

    def show(self, counters: Counters, recent: Metrics) -> None:
        """Show the decisions of training on the live line."""
        fair = counters.episodes >= len(self.parts.env)  # the first to end are the fastest successes
        kind = ("decisions", counters.gradient_steps > 0)
        self._show(counters.decisions, self.parts.settings.decisions, kind, recent if fair else {})

    def show_updates(self, done: int, recent: Metrics) -> None:
        """Show the updates without play on the live line."""
        self._show(done, self.parts.settings.offline_updates, ("updates", True), recent)

    def _show(self, done: int, total: int, kind: tuple[str, bool], recent: Metrics) -> None:
        """Show progress at the rate of this process and, as warm-up is faster, of this `kind` alone."""
        if self._line is None:
            return
        number = "too few episodes have ended yet"
        if "train/success_rate" in recent:
            number = f"training success {recent['train/success_rate']:.0%}"
        elif "train/return" in recent:
            number = f"training return {fixed(recent['train/return'], 1)}"
        if self._counted != kind:
            self._line.count(total, kind[0], done)
            self._counted = kind
        self._line.update(done, number)

    def should_stop(self) -> bool:
        """Report a collapse of training once; returns whether training ends for it."""
        if self.collapse is not None and not self.parts.settings.stop_on_collapse:
            return False  # without the test, whose random signs take a second with 10,000 worlds
        sentence = collapse([point.evaluation for point in self.curve], self.base)
        if sentence is not None and self.collapse is None:
            self.collapse = sentence
            self.screen.phase(sentence)
        return sentence is not None and self.parts.settings.stop_on_collapse

    def state_dict(self) -> StateDict:
        """Return curve, best weights, state of the loggers and times."""
        return {
            "curve": [
                (point.env_steps, point.decisions, point.evaluation.to_dict(), point.gradient_steps)
                for point in self.curve
            ],
            "best_name_and_score": self.best,
            "best": self._best,
            "collapse": self.collapse,
            "loggers": self._unused | {_key(name, one): one.state_dict() for name, one in self.loggers.items()},
            "seconds": [self.seconds, time.monotonic() - self._training_begin],
        }

    def load_state_dict(self, state: StateDict | None) -> None:
        """Continue from a `state_dict`, or begin (None): logs and weights from beyond it are removed.

        Raises UnfitStateError for a state that no run has written.

        The states of loggers that this process lacks stay, so that a later one with them continues their curves.
        """
        self.folder.check_in_place()
        if state is None:
            self._load_logs({})
            return
        with restoring():
            self._load_results(state)
            self._load_logs(dict(state["loggers"]))
        if self._best is not None:
            self.folder.save("best", self._best)

    def _load_logs(self, states: dict[str, Any]) -> None:
        self._unused = states
        for name, logger in self.loggers.items():
            names = (_key(name, logger), name, type(logger).__name__)  # the latter two in earlier versions
            known = next((one for one in names if one in self._unused), None)
            logger.load_state_dict(None if known is None else self._unused.pop(known))

    def _load_results(self, state: StateDict) -> None:
        curve = state["curve"]  # of an earlier version without gradient steps
        self.curve = [report.CurvePoint(steps, n, Evaluation.from_dict(one), *more) for steps, n, one, *more in curve]
        self._best, self.collapse = state["best"], state["collapse"]
        if self._best is not None:
            check_bytes("the best weights of the checkpoint", self._best, self.parts.algorithm)
        self.best = tuple(state["best_name_and_score"]) if state.get("best_name_and_score") else self._best_of_curve()
        check_seconds("seconds of the run", state["seconds"])
        total, self._trained = state["seconds"]
        self._begin -= total


def _key(name: str, logger: Logger) -> str:
    """Return the key of a logger's state: under one name, loggers of another class continue from other states."""
    return f"{name} {type(logger).__name__}"
