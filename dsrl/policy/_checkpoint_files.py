"""Files of a checkpoint that somebody else wrote, read in bounded time and memory and never from outside its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from dsrl import foreign_json
from dsrl.foreign_json import first_line

MIB = 1 << 20
MAX_HEADER = 8 * MIB  # of a safetensors file; the header of 500 weights has 60 KB
MAX_ATTENTION = 2**28  # attention weights of one layer, 1 GiB in float32; SmolVLA has 13 million
FLOAT_TYPES = ("F32", "F16", "BF16")
STATISTICS = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")  # among the weights before lerobot 0.4
COUNTER, COUNTERS = ".num_batches_tracked", ("I64",)  # of batch normalisation


def file_inside(folder: Path, name: str) -> Path:
    """Return the path of a file or folder of a checkpoint, with its links resolved.

    A snapshot in the cache of the Hugging Face hub consists of links into the folder `blobs` of its repository.

    Raises:
        ValueError: if the name or a link leads out of the folder.
    """
    folder = folder.resolve()
    try:
        found = (folder / name).resolve()
        found.is_file()
    except (OSError, RuntimeError) as error:  # names too long, links in a circle
        raise ValueError(f"{folder} names {name[:60]!r}, which no file can be ({first_line(error)[:60]})") from error
    allowed = [folder]
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        allowed.append(folder.parent.parent / "blobs")
    if ".." in Path(name).parts or not any(found.is_relative_to(root) for root in allowed):
        raise ValueError(
            f"{folder} names {name!r}, which leads out of the checkpoint's folder; copy what it needs into the folder "
            "and name it relative to the folder"
        )
    return found


def read_json(file: Path, limit: int = MIB) -> dict[str, Any]:
    """Read a JSON object of at most `limit` bytes without NaN, infinities, repeated keys or deep nesting.

    Raises:
        ValueError: for any other content.
    """
    with file.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{file} is larger than {limit / MIB:g} MiB; get the checkpoint anew")
    try:
        found = foreign_json.parse(content, finite=True)
    except ValueError as error:
        raise ValueError(f"{file} {error}; get the checkpoint anew") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no JSON object but a {type(found).__name__}; get the checkpoint anew")
    return found


def read_shapes(file: Path, limit: int) -> dict[str, tuple[int, ...]]:
    """Read name and shape of every tensor in the header of a safetensors file of at most `limit` bytes.

    Raises:
        ValueError: if the header does not describe the file, or a tensor has a type other than float32, 16 or bfloat16.
    """
    if file.stat().st_size > limit:
        raise ValueError(
            f"{file} is larger than {limit / MIB:g} MiB, the most that dsrl loads; choose a smaller policy"
        )
    with file.open("rb") as stream:
        if int.from_bytes(stream.read(8), "little") > MAX_HEADER:
            raise ValueError(f"{file} has a header of more than {MAX_HEADER / MIB:g} MiB; get the checkpoint anew")
    shapes = {}
    try:
        with safe_open(file, "pt") as stored:
            names: list[str] = list(stored.keys())
            for name in names:
                described = stored.get_slice(name)
                if described.get_dtype() not in (COUNTERS if name.endswith(COUNTER) else FLOAT_TYPES):
                    raise ValueError(
                        f"{file} stores {name!r} as {described.get_dtype()} but weights are {', '.join(FLOAT_TYPES)}; "
                        "save it anew with the library that trained it"
                    )
                shapes[name] = tuple(described.get_shape())
    except SafetensorError as error:
        raise ValueError(
            f"{file} is not a whole safetensors file ({first_line(error)}); get the checkpoint anew"
        ) from error
    return shapes


def check_shapes(file: Path, shapes: dict[str, tuple[int, ...]], module: nn.Module, unused: Iterable[str] = ()) -> None:
    """Compare stored weights with a module on the meta device, so that no memory is taken for weights that lie.

    Weights whose name starts with one of `unused` may be missing or left over, and so may the statistics of early
    checkpoints, which their processors hold as well.

    Raises:
        ValueError: if any other weight is missing, left over or of another shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    ignored = (*unused, *STATISTICS)
    lost = sorted(name for name in missing_weights(module, set(shapes)) if not name.startswith(ignored))
    left = sorted(name for name in shapes if name not in expected and not name.startswith(ignored))
    if lost or left:
        raise ValueError(
            f"{file} lacks {len(lost)} weights and has {len(left)} that its config.json does not describe "
            f"(for example {(lost or left)[0][:100]!r}); use the config.json that was saved with these weights"
        )
    wrong = [name for name in shapes if name in expected and shapes[name] != expected[name]]
    if wrong:
        raise ValueError(
            f"{file} does not fit the sizes of its config.json: {wrong[0]} is stored as {list(shapes[wrong[0]])} but "
            f"must be {list(expected[wrong[0]])}; use the config.json that was saved with these weights"
        )


def bound_attention(where: Path, what: str, length: int, heads: int) -> None:
    """Bound the memory of one layer of attention over `length` tokens. Raises ValueError."""
    if heads * length**2 > MAX_ATTENTION:
        raise ValueError(
            f"{where} attends over {length} {what} with {heads} heads, more than {MAX_ATTENTION} attention "
            "weights; choose a checkpoint with smaller images or larger patches"
        )


def missing_weights(module: nn.Module, stored: set[str]) -> list[str]:
    """Return the names of a module's weights that are not stored, under their own or a tied name."""
    names: dict[int, list[str]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return [tied[0] for tied in names.values() if stored.isdisjoint(tied)]
