"""What an interrupted run left, and what this one leaves for the next: checkpoints of everything that goes on.

checkpoint = identity (what must not change) + loop (the trainer or the search) + workflow (curve, best, loggers)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsrl.evaluation.episodes import Evaluation
from dsrl.run.checkpoint import Checkpoints
from dsrl.run.files import Tree
from dsrl.run.folder import RunFolder, read_json, write_json
from dsrl.run.signals import Signals
from dsrl.training.random_state import is_exact

LARGEST_SHARE = 0.02  # of a run's time that checkpoints between those of the loop may take


class Continuation:
    """The thread from one process of a run to the next; the `keeper` of the loops."""

    def __init__(
        self,
        folder: RunFolder,
        identity: Mapping[str, Any],
        signals: Signals,
        announce: Callable[[str], None],
        *,
        keep: int,
        minutes: float | None,
        other: Path | None,
    ) -> None:
        """Find the newest whole checkpoint of `folder` or else, if given, of the run `other`.

        `identity` must not change on the way: a run's numbers depend on it; `keep` is how many checkpoints stay;
        after `minutes` without one there is one more, None for none but those of the loop.
        Raises ValueError where the checkpoint is of something else, FileNotFoundError where `other` has none.
        """
        self.folder, self.signals = folder, signals
        self.identity, self._announce = dict(identity), announce
        self._store = Checkpoints(folder.resume, keep)
        self._failing = False  # said once, until one is written again
        self._minutes = minutes
        self._due: float | None = None  # when, on the monotonic clock; unknown until a round has been played
        self._gather: Callable[[], Tree] = dict
        self._newest: int | None = None  # decisions
        self._other = None if other is None else RunFolder(other)
        self._former = self._find()

    @property
    def former(self) -> Tree | None:
        """What the loop told; None where it begins."""
        return None if self._former is None else self._former["loop"]

    @property
    def workflow(self) -> Tree | None:
        """What the rest of the run told; None where it begins."""
        return None if self._former is None else self._former["workflow"]

    def gathers(self, workflow: Callable[[], Tree]) -> None:
        """From now on checkpoints hold what `workflow` tells."""
        self._gather = workflow

    def border(self, take: Callable[[], Tree], decisions: int) -> None:
        """Write a checkpoint; where that fails, the one before stays and the run goes on, which is said once."""
        self._write(take(), decisions)

    def pause(self, take: Callable[[], Tree], decisions: int) -> None:
        """Write a checkpoint where one is due or a signal asks for it, and then raise `Stopped`.

        One that is only due is left out where worlds cannot be told: going on from it would not be exact.
        """
        if self._newest != decisions and (self.signals.asked is not None or self._is_due()):
            loop = take()
            if self.signals.asked is not None or is_exact(loop):
                self._write(loop, decisions)
            else:
                self._minutes = None
        self.signals.stop_if_asked()

    def _is_due(self) -> bool:
        if self._minutes is None:
            return False
        if self._due is None:
            self._due = time.monotonic() + 60 * self._minutes
        return time.monotonic() >= self._due

    def _write(self, loop: Tree, decisions: int) -> None:
        tree = {"identity": self.identity, "decisions": decisions, "loop": loop, "workflow": self._gather()}
        begin = time.monotonic()
        try:
            self._store.save(decisions, tree)
            self._newest, self._failing = decisions, False
        except OSError as error:
            kept = "there is none before" if self._newest is None else f"the one after {self._newest} stays"
            if not self._failing:
                self._announce(f"the checkpoint after {decisions} decisions could not be written ({error}); {kept}")
            self._failing = True
        if self._minutes is not None:
            end = time.monotonic()
            self._due = end + max(60 * self._minutes, (end - begin) / LARGEST_SHARE)

    def farewell(self) -> str:
        """Why the run stops, and what to type."""
        assert self.signals.asked is not None
        point = "the beginning" if self._newest is None else f"{self._newest} decisions"
        again = f"the same command with hydra.run.dir={self.folder.path} goes on from {point}"
        return f"stopped by {self.signals.asked.name}; {again}"

    def base(self, key: Mapping[str, Any], play: Callable[[], Mapping[str, Evaluation]]) -> dict[str, Evaluation]:
        """The results of `play`, from the folder if they were played before under the same `key`, and kept there."""
        key = {**self.identity, **key}
        for folder in filter(None, (self.folder, self._other)):
            kept = read_json(folder.base)
            if kept.get("key") == key:
                return {name: Evaluation.of_plain(plain) for name, plain in kept["results"].items()}
        results = dict(play())
        write_json(self.folder.base, {"key": key, "results": {name: one.plain() for name, one in results.items()}})
        return results

    def _find(self) -> Tree | None:
        found, where = self._store.newest(self._announce), self.folder
        if found is None and self._other is not None:
            found, where = Checkpoints(self._other.resume, 1).newest(self._announce), self._other
            if found is None:
                raise FileNotFoundError(
                    f"resume={where.path} holds no checkpoint; type the folder of a run that has one"
                )
        if found is None:
            self._store.drop_after(-1)
            return None
        _check_identity(found["identity"], self.identity, where.path)
        if where is self.folder:
            self._newest = int(found["decisions"])
            self._store.drop_after(self._newest)
        self._announce(f"going on after {found['decisions']} decisions from {where.resume}")
        return found


def _check_identity(former: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    for key in sorted({*former, *now}):
        if former.get(key) != now.get(key):
            raise ValueError(
                f"{key} is {now.get(key)!r} but the checkpoint in {where} is of a run with {former.get(key)!r}; "
                "give it the same value, or begin anew in another hydra.run.dir"
            )
