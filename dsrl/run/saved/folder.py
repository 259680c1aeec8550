"""The folder of one run: its paths, its lock, its config, and the checks before anything in it is written.

outputs/<date>/<time>/   .hydra/config.yaml   summary.json   metrics.csv   metrics.jsonl   tensorboard/   train.log
                         environment.json   failure.txt   learning_curve.png   base_vs_steered.mp4
                         eval/<date>_<time>/eval.json   videos/best_<decisions>.mp4
                         checkpoints/{last,best}/   checkpoints/config.yaml   base.json   resume/<number>/
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shlex
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from dsrl.interfaces import StateDict
from dsrl.run.saved.checkpoint import read_checkpoint, read_manifest, write_checkpoint
from dsrl.run.saved.checkpoint_names import MANIFEST
from dsrl.run.saved.config_files import config_of
from dsrl.run.saved.digests import same_values
from dsrl.run.saved.files import LARGEST_SUMMARY, atomic_write, parse_json, read_json, sha256_of, write_json
from dsrl.run.saved.folder_checks import check_entries, check_hard_links, foreign_entry
from dsrl.run.saved.lock import locked
from dsrl.run.saved.own_summary import outdated
from dsrl.run.saved.trained_config import NOTE, replacing_config, trained_with
from dsrl.run.terminal.errors import UserError, is_of_system, system_error, type_and_text
from dsrl.run.terminal.installed import typed_option
from dsrl.run.terminal.ranges import fits
from dsrl.run.terminal.signals import Stopped


class RunFolder:
    """The paths of one run, and its best and last checkpoints."""

    def __init__(
        self, path: Path, sweep: Path | None = None, plugins: Sequence[str] = (), *, is_trial: bool = False
    ) -> None:
        """`path` is the folder that Hydra names for the run, `sweep` that of its sweep, where it is a run of one.

        `plugins` are the packages, besides dsrl, that its config builds from; `is_trial`: a search chose its values.
        """
        self.plugins, self.is_trial = plugins, is_trial
        self.path, self.sweep = path, sweep
        self.continuing: Callable[[], str] | None = None  # the command that continues, once the run has begun
        self.plays = False  # whether task and policy play already before the run begins
        self._claimed: os.stat_result | None = None
        self.hydra = path / ".hydra"
        self.config = path / "checkpoints" / "config.yaml"  # with which the checkpoints were trained
        self.log = path / "train.log"
        self.summary = path / "summary.json"
        self.environment = path / "environment.json"
        self.failure = path / "failure.txt"
        self.base = path / "base.json"
        self.resume = path / "resume"
        self.learning_curve = path / "learning_curve.png"
        self.video = path / "base_vs_steered.mp4"
        self.videos = path / "videos"  # of the best checkpoints, where a logger shows them
        self.evaluations = path / "eval"

    @property
    def key(self) -> str:
        """The key that names this folder on the command line."""
        return "hydra.run.dir" if self.sweep is None else "hydra.sweep.dir"

    @property
    def option(self) -> str:
        """The option that names this folder, or its sweep's, as it is typed."""
        return typed_option(self.key, self.path if self.sweep is None else self.sweep)

    @property
    def eval_option(self) -> str:
        """The options of eval.py that name this folder and its plugins, as they are typed."""
        plugins = [shlex.quote(f"plugins=[{','.join(self.plugins)}]")] if self.plugins else []
        return " ".join([typed_option("run", self.path), *plugins])

    @property
    def any_config(self) -> Path:
        """The config of the checkpoints; of an older run without it, the one that Hydra saved."""
        return config_of(self.path) or self.hydra / "config.yaml"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Lock the folder for this process; the system unlocks it when the process ends, also after a kill.

        Raises UserError for a folder of something else, with entries that lead out of it, or locked by another process.
        """
        self._check_own()
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / ".lock", self.key):
            self._claimed = self.path.stat()
            yield

    def check_in_place(self) -> None:
        """Raise FileNotFoundError where the folder was moved or removed since it was claimed: a new one is not made."""
        if self._claimed is None:
            return
        now = self.path.stat() if self.path.is_dir() else None
        if now is None or not os.path.samestat(now, self._claimed):
            raise FileNotFoundError(errno.ENOENT, "it was moved or removed", str(self.path))

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file of the run, none in a folder that now has its name: see `check_in_place`. Raises OSError."""
        self.check_in_place()
        atomic_write(path, content)

    def write_json(self, path: Path, content: Any) -> None:
        """Replace a JSON file of the run, as `write`."""
        self.check_in_place()
        write_json(path, content)

    def check(self) -> None:
        """Raise UserError where a link leads out of the folder, or a pipe or the like is in it: see `check_entries`."""
        try:
            check_entries(self.path)
        except ValueError as error:
            raise UserError(str(error)) from error

    def _check_own(self) -> None:
        if not self.path.is_dir():
            return
        foreign = None if self.any_config.is_file() else foreign_entry(self.path)
        if foreign:
            raise UserError(
                f"{self.option} contains {foreign} and is not the folder of a run; "
                f"name a new folder, or leave {self.key} out"
            )
        self.check()
        try:
            check_hard_links(self.path)
        except ValueError as error:
            raise UserError(str(error)) from error

    def new_evaluation(self) -> Path:
        """Make the folder of an evaluation; the results of others stay. Raises OSError where that is not possible."""
        name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        for number in itertools.count(1):
            path = self.evaluations / (name if number == 1 else f"{name}_{number}")
            with suppress(FileExistsError):
                path.mkdir(parents=True)
                return path
        raise AssertionError

    def begin(self, files: Mapping[str, str], continuing: Callable[[], str]) -> None:
        """Write the configs of a run that begins; `continuing` returns the command that continues it from now on."""
        self.continuing = continuing
        self.write_configs(files)

    def write_configs(self, files: Mapping[str, str]) -> None:
        """Write the configs of a run that has passed its checks: name -> YAML; `config.yaml` beside checkpoints too."""
        self.check_in_place()
        self.failure.unlink(missing_ok=True)
        config = files["config.yaml"].encode()
        weights = [self.checkpoint(name) for name in ("best", "last")]  # of a run that is continued
        with replacing_config(weights, self.config_sha256(), hashlib.sha256(config).hexdigest()):
            self.hydra.mkdir(exist_ok=True)
            for name, text in files.items():
                self.write(self.hydra / name, text.encode())
            self.config.parent.mkdir(exist_ok=True)  # last: a folder with a config is that of a run
            self.write(self.config, config)

    def finished(self, requested: Mapping[str, Any], announce: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the summary of a finished run of the same `requested` values; None otherwise.

        `announce` gets the sentence about a summary that a continuation has outdated.
        """
        summary = read_json(self.summary, LARGEST_SUMMARY)
        scores = summary.get(str(summary.get("returned", "steered")))
        numbers = {"mean_return": float, "success_rate": float | None}
        complete = (
            isinstance(scores, dict)
            and all(name in scores and fits(scores[name], kind) for name, kind in numbers.items())
            and isinstance(summary.get("best_validation"), float)
        )
        if not complete or not same_values(summary.get("requested"), requested):
            return None
        sentence = self.outdated()
        if sentence is not None:
            announce(sentence)
        return summary if sentence is None else None

    def outdated(self) -> str | None:
        """Return a sentence where a continuation has replaced the weights that summary.json is about, else None."""
        return outdated(self.path, read_json(self.summary, LARGEST_SUMMARY))

    def read_results(self) -> dict[str, Any]:
        """Return summary.json where it is about the best checkpoint; empty for an unfinished run.

        Raises ValueError for a damaged one.
        """
        return {} if self.outdated() else self.read_summary()

    def read_summary(self) -> dict[str, Any]:
        """Return the content of summary.json; empty for a run without it. Raises ValueError for a damaged one."""
        try:
            summary = parse_json(self.summary, LARGEST_SUMMARY) if os.path.lexists(self.summary) else {}
        except ValueError as error:
            raise ValueError(f"{error}; restore it, or remove it") from error
        if not isinstance(summary, dict):
            raise ValueError(f"{self.summary} is damaged: it is no JSON object; restore it, or remove it")
        return summary

    def config_sha256(self) -> str | None:
        """Return the digest of the run's config; None where there is none."""
        return sha256_of(self.any_config) if self.any_config.is_file() else None

    @contextmanager
    def noting_failure(self, announce: Callable[[str], None] = print) -> Iterator[None]:
        """Write `failure.txt` when an exception leaves the block; one before the run began leaves a run's folder alone.

        Once it has begun, or `plays`, raises UserError: one sentence with the command that continues or tries again.
        `announce` gets the sentence about a signal that stops it before.
        """
        try:
            yield
        except Stopped as stopped:
            if self.continuing is None:
                goes_on = "continues" if self.any_config.is_file() else "begins again"
                announce(f"stopped by {stopped.name}; {self.same_command(goes_on)}")
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            sentence = type_and_text(error)
            noted = self._note(f"{sentence}\n\n{traceback.format_exc()}")
            if is_of_system(error):
                raise UserError(system_error(error, self.path, self._again())) from error
            begun = self.continuing is not None or (self.plays and not isinstance(error, ImportError))
            if isinstance(error, UserError | KeyboardInterrupt) or not noted or not begun:
                raise
            raise UserError(f"{sentence} (where: {self.failure}); {self._again()}") from error

    def note_refusal(self, error: Exception) -> None:
        """Write the sentence of a refused run to `failure.txt`; a folder in which a run began is left alone."""
        self._note(f"{type_and_text(error)}\n")

    def _note(self, text: str) -> bool:
        if self.continuing is None and self.any_config.is_file():
            return False
        with suppress(OSError):  # neither a full disk nor a folder that was moved must hide the error
            self.write(self.failure, text.encode())
            return True
        return False

    def _again(self) -> str:
        return self.same_command("tries again") if self.continuing is None else self.continuing()

    def same_command(self, effect: str) -> str:
        """Return the command that was typed and its `effect` on this run; that of a search begins other trials."""
        effect = "goes on with other values and counts this trial as failed" if self.is_trial else effect
        return f"the same command with {self.option} {effect}"

    def checkpoint(self, name: str) -> Path:
        """Return the folder of a checkpoint (`best` or `last`)."""
        return self.path / "checkpoints" / name

    def checkpoint_sha256(self, name: str) -> dict[str, str] | None:
        """Return file -> digest of a checkpoint; None where there is none."""
        if not self.has(name):
            return None
        files: dict[str, str] = read_manifest(self.checkpoint(name))["files"]
        return files

    def has(self, name: str) -> bool:
        """Return whether there is a checkpoint of that name."""
        return (self.checkpoint(name) / MANIFEST).is_file()

    def save(self, name: str, state: StateDict) -> None:
        """Replace a checkpoint by `state`; whenever this is cut short, the previous one is still complete."""
        self.check_in_place()
        resumable = any(self.resume.glob(f"[0-9]*/{MANIFEST}"))  # otherwise the same command begins again
        notes = {NOTE: self.config_sha256(), "resumable": resumable}
        write_checkpoint(self.checkpoint(name), state, notes)

    def load(self, name: str) -> StateDict:
        """Return the state that `save` wrote.

        Raises FileNotFoundError without one, ValueError for damaged files or another config than that of the weights.
        """
        self.check_in_place()
        folder = self.checkpoint(name)
        if not self.has(name):
            there = " and ".join(sorted(path.parent.name for path in self.path.glob(f"checkpoints/*/{MANIFEST}")))
            raise FileNotFoundError(
                f"checkpoint={name} is not in {self.path}; it has {there or 'none at all'}"
                f" (none, for the base policy, always works)"
            )
        noted = trained_with(folder)
        if noted and self.config_sha256() not in noted:
            raise ValueError(f"{self.any_config} was changed after checkpoint={name} was trained with it; restore it")
        state = read_checkpoint(folder, LARGEST_SUMMARY)
        if not isinstance(state, dict):
            raise ValueError(f"{folder} is damaged: it has no weights by name; use another checkpoint")
        return state
