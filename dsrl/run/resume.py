"""Saves the full training state periodically and restores it when a run is restarted.

checkpoint = identity (values that must not change) + loop (the trainer's state) + run (curve, best weights, loggers)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Lt

from dsrl.interfaces import StateDict
from dsrl.run.config.settings import completed, same_data
from dsrl.run.saved import provenance
from dsrl.run.saved.checkpoint import Checkpoints, DamagedError
from dsrl.run.saved.digests import known_then, same
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.errors import UserError
from dsrl.run.terminal.ranges import fits, written
from dsrl.run.terminal.signals import Signals
from dsrl.training.loop import UnfitStateError

COUNT = Annotated[int, Ge(0), Lt(10**9)]  # the names of checkpoints have nine digits
LARGEST_SHARE = 0.02  # of a run's time that checkpoints between validations may take


class Checkpointer:
    """Checkpoints of one run, and the one that it continues from (`dsrl.training.loop.Checkpointer`)."""

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
        """Find the newest complete checkpoint of `folder` or else, if given, of the run `other`.

        `identity` has the values that a run's results depend on and that must not change. The newest `keep`
        checkpoints stay. After `minutes` without a checkpoint one is written; None: after validations alone.

        Raises ValueError where the checkpoint has another identity or all are damaged, FileNotFoundError where `other`
        has none.
        """
        self.folder, self.signals = folder, signals
        self.identity, self._announce = dict(identity), announce
        self._store = Checkpoints(folder.resume, keep)
        self._failing = False  # announced once, until one is written again
        self._minutes = minutes
        self._due: float | None = None  # monotonic time; unknown until a round has been played
        self._run_state: Callable[[], StateDict] = dict
        self._newest: int | None = None  # number of a checkpoint: decisions, and updates without play
        self._reached = "the beginning"  # by the checkpoint that the same command continues from
        self._other = None if other is None else RunFolder(other)
        self._code = provenance.git_state()
        self._where = folder.resume  # of the previous state
        self._previous = self._find()

    @property
    def previous(self) -> StateDict | None:
        """The state of the loop to continue from; None at the start of a run."""
        return None if self._previous is None else self._previous["loop"]

    @property
    def taken(self) -> int | None:
        """The decisions that the previous state has taken; None at the start of a run."""
        return None if self._previous is None else int(self._previous["decisions"])

    @property
    def is_elsewhere(self) -> bool:
        """Whether the folder itself has no checkpoint: the previous state, if any, is of the run `other`."""
        return self._newest is None

    @property
    def folders(self) -> list[RunFolder]:
        """The run's folder and, where there is one, that of the run `other`."""
        return [self.folder, *([] if self._other is None else [self._other])]

    @property
    def previous_run(self) -> StateDict | None:
        """The state of the rest of the run; None at the start of a run."""
        return None if self._previous is None else self._previous["run"]

    def begin(self) -> None:
        """Remove checkpoints beyond the previous state: they are damaged, or of a continuation that was abandoned."""
        self._store.drop_after(-1 if self._newest is None else self._newest)

    def restored(self, decisions: int) -> None:
        """Write a previous state of another folder to this one, from which the run then goes on by itself.

        Not before it was restored: what cannot be would fill the disk, and stay. Raises ValueError where it has taken
        other `decisions` than it says.
        """
        assert self._previous is not None
        if decisions != self.taken:
            raise ValueError(f"its counters have {decisions} decisions, but the whole of it {self.taken}")
        if self._newest is None:
            self._write_state({**self._previous, "identity": self.identity})

    @contextmanager
    def training(self) -> Iterator[None]:
        """Promise a checkpoint to whoever presses Ctrl-C, and name the previous one where it cannot be restored."""
        with self._naming_previous(), self.signals.writing_checkpoints():
            yield

    def restore_run(self, load: Callable[[StateDict | None], None]) -> None:
        """Call `load` with the state of the rest of the run. Raises UserError where it cannot be restored."""
        with self._naming_previous():
            load(self.previous_run)

    @contextmanager
    def _naming_previous(self) -> Iterator[None]:
        """Raise UserError that names the previous checkpoint where the block cannot restore it."""
        try:
            yield
        except UnfitStateError as error:
            raise UserError(
                f"the newest checkpoint in {self._where} cannot be restored ({error}); replace it by one that the run "
                "itself has written, or start a new run in another folder"
            ) from error

    def include(self, run_state: Callable[[], StateDict]) -> None:
        """Add the state of the rest of the run to checkpoints from now on."""
        self._run_state = run_state

    def save_at_reset(self, state: Callable[[], StateDict], decisions: int, updates: int = 0) -> None:
        """Write a checkpoint; where that fails, the previous one stays and the run continues, announced once."""
        self._write(state(), decisions, updates)

    def prepared(self, loop: StateDict, decisions: int, updates: int = 0) -> Callable[[], None]:
        """Return what writes a checkpoint of the run as it is now, unless one as far was written before."""
        state = self._whole(loop, decisions, updates)

        def save() -> None:
            if _number(state) not in (0, self._newest):
                self._write_state(state)

        return save

    def save_if_due(self, state: Callable[[], StateDict], decisions: int, updates: int = 0) -> None:
        """Write a checkpoint where it is time or a signal requests one, and then raise `Stopped`.

        One that is only due waits for a round from which training could continue exactly.
        """
        if self._newest != decisions + updates and (self.signals.requested is not None or self._is_due()):
            begin, loop = time.monotonic(), state()
            if self.signals.requested is not None or loop["exact"]:
                self._write(loop, decisions, updates)
            else:
                end = time.monotonic()
                self._due = end + (end - begin) / LARGEST_SHARE
        self.signals.stop_if_requested()

    def _is_due(self) -> bool:
        if self._minutes is None:
            return False
        if self._due is None:
            self._due = time.monotonic() + 60 * self._minutes
        return time.monotonic() >= self._due

    def _write(self, loop: StateDict, decisions: int, updates: int) -> None:
        self._write_state(self._whole(loop, decisions, updates))

    def _whole(self, loop: StateDict, decisions: int, updates: int) -> StateDict:
        counts = {"decisions": decisions, "updates": updates}
        return {"identity": self.identity, **counts, "loop": loop, "run": self._run_state(), "code": self._code}

    def _write_state(self, state: StateDict) -> None:
        self.folder.check_in_place()
        begin, number = time.monotonic(), _number(state)
        try:
            self._store.save(number, state)
            self._newest, self._reached, self._failing = number, _reached(state), False
        except OSError as error:
            rest = "there is none before" if self._newest is None else f"the one after {self._reached} stays"
            if not self._failing:
                self._announce(f"the checkpoint after {_reached(state)} could not be written ({error}); {rest}")
            self._failing = True
        if self._minutes is not None:
            end = time.monotonic()
            self._due = end + max(60 * self._minutes, (end - begin) / LARGEST_SHARE)

    def continuation(self) -> str:
        """Return the command that continues the run, and its last good checkpoint."""
        return self.folder.same_command(f"continues from {self._reached}")

    def stop_message(self) -> str:
        """Return the sentence that names the signal, and the command that continues the run."""
        assert self.signals.requested is not None
        return f"stopped by {self.signals.requested.name}; {self.continuation()}"

    def _find(self) -> StateDict | None:
        found, where = self._own(), self.folder
        if found is None and self._other is not None:
            found, where = self._of_other(self._other), self._other
            if found is None:
                raise FileNotFoundError(f"resume={where.path} has no checkpoint; type the folder of a run that has one")
        if found is None:
            return None
        self._where = where.resume
        _check_kind(found, where.resume)
        _check_identity(completed(found["identity"]), self.identity, where.path, self.folder.key)
        self._reached = _reached(found)
        if where is self.folder:
            self._newest = _number(found)
        self._announce(f"continuing after {_reached(found)} from {where.resume}")
        self._announce_other_code(found.get("code"))
        return found

    def _own(self) -> StateDict | None:
        try:
            return self._store.newest(self._announce)
        except DamagedError as error:
            if not self.folder.summary.exists():
                raise DamagedError(f"{error}, or name another {self.folder.key}") from error
            self._announce(f"{error}, if this finished run shall be extended")
            return None

    def _of_other(self, other: RunFolder) -> StateDict | None:
        try:
            return Checkpoints(other.resume, 1).newest(self._announce)
        except DamagedError as error:
            raise DamagedError(f"{error}, or type the folder of another run as resume") from error

    def _announce_other_code(self, previous: Mapping[str, Any] | None) -> None:
        before, now = ((code or {}).get("git_commit") for code in (previous, self._code))
        if before and now and before != now:
            self._announce(f"the code has changed: that checkpoint is of git commit {before[:10]}, this is {now[:10]}")
        elif previous is not None and previous != self._code:
            self._announce("the code has changed: other files differ from its git commit than at that checkpoint")


def _number(state: Mapping[str, Any]) -> int:
    """Return the number of a state's checkpoint, which grows while training does; one of before has no `updates`."""
    return int(state["decisions"]) + int(state.get("updates", 0))


def _reached(state: Mapping[str, Any]) -> str:
    updates = state.get("updates", 0)
    return f"{state['decisions']} decisions" + (f" and {updates} updates without play" if updates else "")


def _check_kind(found: Any, where: Path) -> None:
    kinds = {"identity": dict, "decisions": COUNT, "updates": COUNT, "loop": dict, "run": dict, "code": dict | None}
    named = {"updates": 0, "code": None, **found} if isinstance(found, dict) else {}
    whole = all(key in named and fits(named[key], kind) for key, kind in kinds.items())
    if not whole or not all(isinstance(key, str) for key in named["identity"]) or not _is_commit(named["code"]):
        raise ValueError(f"the newest checkpoint in {where} is not one that a run of train.py writes; remove it")


def _is_commit(code: Mapping[str, Any] | None) -> bool:
    return isinstance((code or {}).get("git_commit"), str | None)


def _check_identity(previous: Mapping[str, Any], now: Mapping[str, Any], where: Path, folder_key: str) -> None:
    previous, now = same_data(previous, known_then(previous, now))
    typed = where / ".hydra" / "overrides.yaml"
    hint = f" ({typed} has all that was typed then)" if typed.is_file() else ""
    for key in sorted({*previous, *now}):
        if not same(previous.get(key), now.get(key)):
            found, before = written(now.get(key)), written(previous.get(key))
            raise ValueError(
                f"{key}={found} but the checkpoint in {where} is of a run with {key}={before}; "
                f"give it the same value{hint}, or start a new run in another {folder_key}"
            )
