"""The state of a run as JSON, its tensors apart: state <-> structure of plain values + tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError
from torch import Tensor


@contextmanager
def naming_damage(worded: Callable[[str], Exception]) -> Iterator[None]:
    """Raise the error that `worded` makes of the reason where the block reads tensors or JSON that no state has."""
    try:
        yield
    except (SafetensorError, KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise worded(" ".join(f"{type(error).__name__} {error}".split())[:200]) from error


def flatten(node: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return the state as JSON, its tensors moved to `tensors`. Dicts become lists of pairs: keys may be numbers.

    Tensors are copied only where they share memory. Raises TypeError for anything but tensors and plain values.
    """
    if _is_json(node):
        return {"value": node}
    if isinstance(node, Tensor):
        tensors[name] = _alone(node, tensors)
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, flatten(value, f"{name}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [flatten(value, f"{name}/{i}", tensors) for i, value in enumerate(node)]}
    raise TypeError(
        f"a checkpoint takes tensors and plain values only, not {type(node).__name__} (at {name or 'root'})"
    )


def _is_json(node: Any) -> bool:
    """Return whether JSON gives a value back as it is; wrapping each number would take a hundred times its memory."""
    if isinstance(node, list):
        return all(map(_is_json, node))
    if isinstance(node, dict):
        return all(isinstance(key, str) and _is_json(value) for key, value in node.items())
    return node is None or isinstance(node, bool | int | float | str)


def unflatten(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Invert `flatten`."""
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unflatten(value, tensors) for key, value in content}
    if kind == "list":
        return [unflatten(value, tensors) for value in content]
    if kind == "tuple":
        return tuple(unflatten(value, tensors) for value in content)
    return content


def _alone(tensor: Tensor, others: Mapping[str, Tensor]) -> Tensor:
    """Return the tensor on the CPU in memory of its own, as safetensors requires."""
    whole = tensor.detach().cpu().contiguous()
    place = whole.untyped_storage()
    alone = place.nbytes() == whole.nbytes and all(place.data_ptr() != o.data_ptr() for o in others.values())
    return whole if alone else whole.clone()
