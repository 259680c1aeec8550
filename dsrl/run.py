"""A run's folder: what lies where, and checkpoints that are either whole or absent.

outputs/<date>/<time>/   .hydra/config.yaml   summary.json   metrics.csv   metrics.jsonl   tensorboard/
                         environment.json   failure.txt   learning_curve.png   base_vs_steered.mp4   eval.json
                         checkpoints/{last,best}/   <digest>.safetensors   <digest>.json   manifest.json
"""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

Tree = Any  # nested dicts, lists and tuples of tensors and plain values


class RunFolder:
    """The paths of one run, and its checkpoints."""

    def __init__(self, path: Path) -> None:
        """`path` is the folder that Hydra made for the run."""
        self.path = path
        self.config = path / ".hydra" / "config.yaml"
        self.summary = path / "summary.json"
        self.environment = path / "environment.json"
        self.failure = path / "failure.txt"
        self.learning_curve = path / "learning_curve.png"
        self.video = path / "base_vs_steered.mp4"

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
        structure = _take_tensors(state, "", tensors)
        files = {}
        for suffix, content in ((".safetensors", save(tensors)), (".json", json.dumps(structure).encode())):
            digest = hashlib.sha256(content).hexdigest()
            _write(folder / f"{digest[:16]}{suffix}", content)
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
        return _give_tensors(json.loads(parts[".json"]), load(parts[".safetensors"]))


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file at once."""
    _write(path, (json.dumps(content, indent=2) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _take_tensors(node: Tree, name: str, tensors: dict[str, Tensor]) -> Tree:
    """The tree as JSON, its tensors moved to `tensors`. Dicts become lists of pairs: keys may be numbers."""
    if isinstance(node, Tensor):
        tensors[name] = node.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, _take_tensors(value, f"{name}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [_take_tensors(value, f"{name}/{i}", tensors) for i, value in enumerate(node)]}
    if node is None or isinstance(node, bool | int | float | str):
        return {"value": node}
    raise TypeError(
        f"a checkpoint holds tensors and plain values only, not {type(node).__name__} (at {name or 'root'})"
    )


def _give_tensors(node: Tree, tensors: dict[str, Tensor]) -> Tree:
    """The inverse of `_take_tensors`."""
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _give_tensors(value, tensors) for key, value in content}
    if kind == "list":
        return [_give_tensors(value, tensors) for value in content]
    if kind == "tuple":
        return tuple(_give_tensors(value, tensors) for value in content)
    return content


def _listed(names: list[str]) -> str:
    return " and ".join(sorted(names)) or "none at all"
