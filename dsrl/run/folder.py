"""A run's folder: what lies where, and checkpoints that are either whole or absent.

outputs/<date>/<time>/   .hydra/config.yaml   summary.json   metrics.csv   metrics.jsonl   tensorboard/
                         environment.json   failure.txt   learning_curve.png   base_vs_steered.mp4   eval.json
                         checkpoints/{last,best}/   <digest>.safetensors   <digest>.json   manifest.json
                         base.json   resume/<decisions>/ (see dsrl.run.checkpoint)
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from dsrl.run.errors import NO_ROOM
from dsrl.run.files import Tree, give_tensors, take_tensors, write_whole


class NoRoomError(Exception):
    """The disk is full; the message is one sentence that says how to go on."""


class RunFolder:
    """The paths of one run, and its checkpoints."""

    def __init__(self, path: Path) -> None:
        """`path` is the folder that Hydra made for the run."""
        self.path = path
        self.config = path / ".hydra" / "config.yaml"
        self.summary = path / "summary.json"
        self.environment = path / "environment.json"
        self.failure = path / "failure.txt"
        self.base = path / "base.json"
        self.resume = path / "resume"
        self.learning_curve = path / "learning_curve.png"
        self.video = path / "base_vs_steered.mp4"

    def finished(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """The summary of a run that was `asked` for and has ended; None without one, or with one of another run."""
        summary = read_json(self.summary)
        return summary if summary.get("asked") == asked else None

    def config_sha256(self) -> str | None:
        """The digest of the run's config as it is saved; None where there is none."""
        return hashlib.sha256(self.config.read_bytes()).hexdigest() if self.config.is_file() else None

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Leave `failure.txt` when the block is left by an exception: its sentence, then the traceback."""
        self.failure.unlink(missing_ok=True)
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            sentence = f"{type(error).__name__}: {' '.join(str(error).split())}"
            with suppress(OSError):  # a full disk must not hide what happened
                self.failure.write_text(f"{sentence}\n\n{traceback.format_exc()}")
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise NoRoomError(
                    f"{error.filename or self.path} could not be written ({error.strerror}); make room, then the same "
                    f"command with hydra.run.dir={self.path} goes on from its last checkpoint"
                ) from error
            raise

    def checkpoint_sha256(self, name: str) -> dict[str, str] | None:
        """The manifest of a checkpoint: file -> digest; None where there is none."""
        manifest = self.checkpoint(name) / "manifest.json"
        return json.loads(manifest.read_text()) if manifest.is_file() else None

    def checkpoint(self, name: str) -> Path:
        """The folder of a checkpoint (`best` or `last`)."""
        return self.path / "checkpoints" / name

    def save(self, name: str, state: Tree) -> None:
        """Replace a checkpoint by `state`. Whenever this is cut short, the former one is still there, whole."""
        folder = self.checkpoint(name)
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        structure = take_tensors(state, "", tensors)
        files = {}
        for suffix, content in ((".safetensors", save(tensors)), (".json", json.dumps(structure).encode())):
            digest = hashlib.sha256(content).hexdigest()
            write_whole(folder / f"{digest[:16]}{suffix}", content)
            files[f"{digest[:16]}{suffix}"] = digest
        write_json(folder / "manifest.json", files)  # from here on the new files are the checkpoint
        for stale in folder.iterdir():
            if stale.name not in files and stale.name != "manifest.json":
                stale.unlink()

    def load(self, name: str) -> Tree:
        """The state that `save` was given. Raises FileNotFoundError without one, ValueError for damaged files."""
        folder = self.checkpoint(name)
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            there = [path.parent.name for path in self.path.glob("checkpoints/*/manifest.json")]
            raise FileNotFoundError(
                f"checkpoint={name} is not in {self.path}; it holds {_listed(there)}"
                f" (none, for the base policy, always works)"
            )
        parts = {}
        for file, digest in json.loads(manifest.read_text()).items():
            path = folder / file
            content = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(content).hexdigest() != digest:
                raise ValueError(f"{path} is damaged: its sha256 is not that of the manifest; use another checkpoint")
            parts[path.suffix] = content
        return give_tensors(json.loads(parts[".json"]), load(parts[".safetensors"]))


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file at once."""
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty for one that is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _listed(names: list[str]) -> str:
    return " and ".join(sorted(names)) or "none at all"
