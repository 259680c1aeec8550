"""The folder of one run: its paths, its lock, its config, and the checks before anything in it is written.

outputs/<date>/<time>/   .hydra/config.yaml   summary.json   metrics.csv   metrics.jsonl   tensorboard/   train.log
                         environment.json   failure.txt   learning_curve.png   base_vs_steered.mp4   eval.json
                         checkpoints/{last,best}/   checkpoints/config.yaml   base.json   resume/<decisions>/
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dsrl.interfaces import StateDict
from dsrl.run.checkpoint import MANIFEST, read_checkpoint, read_manifest, write_checkpoint
from dsrl.run.errors import NO_ROOM, UserError
from dsrl.run.files import atomic_write, read_json, refuse_links, sha256_of
from dsrl.run.request import config_of

BEFORE_A_RUN = {".lock", "train.log", "failure.txt", "environment.json"}
"""Entries that a run which was refused or has just begun leaves, so that its folder can still be used."""


class NoRoomError(UserError):
    """The disk is full; the message is one sentence with the command that continues."""


class RunFolder:
    """The paths of one run, and its best and last checkpoints."""

    def __init__(self, path: Path) -> None:
        """`path` is the folder that Hydra names for the run."""
        self.path = path
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

    @property
    def option(self) -> str:
        """The option that names this folder, quoted for a shell."""
        return shlex.quote(f"hydra.run.dir={self.path}")

    @property
    def eval_option(self) -> str:
        """The option of eval.py that names this folder, quoted for a shell."""
        return shlex.quote(f"run={self.path}")

    @property
    def any_config(self) -> Path:
        """The config of the checkpoints; of an older run without it, the one that Hydra saved."""
        return config_of(self.path) or self.hydra / "config.yaml"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Lock the folder for this process; the system unlocks it when the process ends, also after a kill.

        Raises UserError for a folder of something else, with links that lead out of it, or locked by another process.
        """
        self._check_own()
        self.path.mkdir(parents=True, exist_ok=True)
        with open(os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = file.read().strip() or "another process"
                raise UserError(
                    f"{self.path} is in use by {owner}; wait for it, or name another hydra.run.dir"
                ) from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield

    def check_links(self) -> None:
        """Raise UserError where a link leads out of the folder: nothing is read or written through it."""
        try:
            refuse_links(self.path)
        except ValueError as error:
            raise UserError(str(error)) from error

    def _check_own(self) -> None:
        if not self.path.is_dir():
            return
        if not self.any_config.is_file():
            others = sorted(entry.name for entry in self.path.iterdir() if entry.name not in BEFORE_A_RUN)
            if others:
                raise UserError(
                    f"hydra.run.dir={self.path} contains {others[0]} and is not the folder of a run; "
                    "name a new folder, or leave hydra.run.dir out"
                )
        self.check_links()

    def write_configs(self, files: Mapping[str, str]) -> None:
        """Write the configs of a run that has passed its checks: name -> YAML; `config.yaml` beside checkpoints too."""
        self.failure.unlink(missing_ok=True)
        self.hydra.mkdir(exist_ok=True)
        self.config.parent.mkdir(exist_ok=True)
        for name, text in files.items():
            atomic_write(self.hydra / name, text.encode())
        atomic_write(self.config, files["config.yaml"].encode())

    def finished(self, requested: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the summary of a finished run of the same `requested` values; None otherwise."""
        summary = read_json(self.summary)
        return summary if summary.get("requested") == json.loads(json.dumps(requested)) else None

    def config_sha256(self) -> str | None:
        """Return the digest of the run's config; None where there is none."""
        return sha256_of(self.any_config) if self.any_config.is_file() else None

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Write `failure.txt` when an exception leaves the block, unless the folder has a finished run."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            sentence = f"{type(error).__name__}: {' '.join(str(error).split())}"
            with suppress(OSError):  # a full disk must not hide the error
                if not self.summary.is_file():
                    atomic_write(self.failure, f"{sentence}\n\n{traceback.format_exc()}".encode())
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise NoRoomError(
                    f"{error.filename or self.path} could not be written ({error.strerror}); make room, then the same "
                    f"command with {self.option} continues from its last checkpoint"
                ) from error
            raise

    def checkpoint(self, name: str) -> Path:
        """Return the folder of a checkpoint (`best` or `last`)."""
        return self.path / "checkpoints" / name

    def checkpoint_sha256(self, name: str) -> dict[str, str] | None:
        """Return file -> digest of a checkpoint; None where there is none."""
        if not (self.checkpoint(name) / MANIFEST).is_file():
            return None
        files: dict[str, str] = read_manifest(self.checkpoint(name))["files"]
        return files

    def save(self, name: str, state: StateDict) -> None:
        """Replace a checkpoint by `state`; whenever this is cut short, the previous one is still complete."""
        write_checkpoint(self.checkpoint(name), state, {"config_sha256": self.config_sha256()})

    def load(self, name: str) -> StateDict:
        """Return the state that `save` wrote.

        Raises FileNotFoundError without one, ValueError for damaged files or another config than that of the weights.
        """
        folder = self.checkpoint(name)
        if not (folder / MANIFEST).is_file():
            there = " and ".join(sorted(path.parent.name for path in self.path.glob(f"checkpoints/*/{MANIFEST}")))
            raise FileNotFoundError(
                f"checkpoint={name} is not in {self.path}; it has {there or 'none at all'}"
                f" (none, for the base policy, always works)"
            )
        expected = read_manifest(folder)["notes"].get("config_sha256")
        if expected is not None and self.config.is_file() and expected != self.config_sha256():
            raise ValueError(f"{self.config} was changed after checkpoint={name} was trained with it; restore it")
        return read_checkpoint(folder)
