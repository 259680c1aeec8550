"""Trees of tensors and plain values as files: safetensors and JSON, nothing pickled, whole or absent.

tree -> tensors.safetensors + structure.json + manifest.json (file -> sha256) -> the same tree, to the last bit
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

Tree = Any  # nested dicts, lists and tuples of tensors and plain values

_TENSORS, _STRUCTURE, _MANIFEST = "tensors.safetensors", "structure.json", "manifest.json"


def write_tree(folder: Path, tree: Tree) -> None:
    """Write `tree` into an empty `folder` and wait until it is on the disk. Raises OSError where there is no room."""
    tensors: dict[str, Tensor] = {}
    structure = take_tensors(tree, "", tensors)
    _write_tensors(folder / _TENSORS, tensors)
    write_whole(folder / _STRUCTURE, json.dumps(structure).encode())
    digests = {name: _sha256(folder / name) for name in (_TENSORS, _STRUCTURE)}
    write_whole(folder / _MANIFEST, json.dumps(digests, indent=2).encode())
    sync_folder(folder)


def read_tree(folder: Path) -> Tree:
    """The tree that `write_tree` was given. Raises ValueError where a file is missing or is not what was written."""
    try:
        digests = json.loads((folder / _MANIFEST).read_text())
        damaged = [name for name in (_TENSORS, _STRUCTURE) if _sha256(folder / name) != digests[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is damaged: {type(error).__name__} {error}") from error
    if damaged:
        raise ValueError(f"{folder} is damaged: the sha256 of {damaged[0]} is not that of the manifest")
    return give_tensors(json.loads((folder / _STRUCTURE).read_text()), load_file(folder / _TENSORS))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_tensors(node: Tree, name: str, tensors: dict[str, Tensor]) -> Tree:
    """The tree as JSON, its tensors moved to `tensors`. Dicts become lists of pairs: keys may be numbers.

    Tensors are copied only where they share memory. Raises TypeError for what is neither tensor nor plain value.
    """
    if isinstance(node, Tensor):
        tensors[name] = _alone(node, tensors)
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, take_tensors(value, f"{name}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [take_tensors(value, f"{name}/{i}", tensors) for i, value in enumerate(node)]}
    if node is None or isinstance(node, bool | int | float | str):
        return {"value": node}
    raise TypeError(
        f"a checkpoint holds tensors and plain values only, not {type(node).__name__} (at {name or 'root'})"
    )


def give_tensors(node: Tree, tensors: dict[str, Tensor]) -> Tree:
    """The inverse of `take_tensors`."""
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: give_tensors(value, tensors) for key, value in content}
    if kind == "list":
        return [give_tensors(value, tensors) for value in content]
    if kind == "tuple":
        return tuple(give_tensors(value, tensors) for value in content)
    return content


def _alone(tensor: Tensor, others: dict[str, Tensor]) -> Tensor:
    """The tensor on the CPU in memory that holds nothing else, as safetensors wants it."""
    whole = tensor.detach().cpu().contiguous()
    place = whole.untyped_storage()
    alone = place.nbytes() == whole.nbytes and all(place.data_ptr() != o.data_ptr() for o in others.values())
    return whole if alone else whole.clone()


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        save_file(tensors, path)
        with safe_open(path, "pt"):  # its header must fit the length: no file that a full disk has cut short
            pass
    except SafetensorError as error:
        raise OSError(f"{path} could not be written ({error})") from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
