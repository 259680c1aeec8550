"""Checks the frames of a LeRobotDataset: the types and sizes of its columns, and its pictures."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrl.foreign_json import first_line, short
from dsrl.training.dataset_formats import DamageError, Parquet

GIB = 1 << 30
FORMATS = ("PNG", "JPEG")  # of pictures; others can start programs (EPS) or unpack without limit
MAX_PIXELS = 1 << 24  # of a picture
MAX_SECONDS = 1 << 40  # of a timestamp; FFmpeg's own are whole numbers of 64 bits


@dataclass(frozen=True)
class Bounds:
    """First frame and end of each episode, with the numbers that lead to its videos."""

    first: NDArray[np.int64]
    end: NDArray[np.int64]
    videos: Mapping[str, NDArray[Any]]


def check_frames(
    files: Iterable[tuple[Path, str]], info: Mapping[str, Any], bounds: Bounds, num_tasks: int, free: int
) -> None:
    """Check all rows of the parquet files; raises DamageError where they are not those that info.json describes."""
    features = {name: feature for name, feature in info["features"].items() if feature["dtype"] != "video"}
    for name, feature in info["features"].items():
        if feature["dtype"] in ("image", "video") and feature["shape"][0] * feature["shape"][1] > MAX_PIXELS:
            raise DamageError(f"has the camera {short(name)} of shape {feature['shape']}, above {MAX_PIXELS} pixels")
    tables = [Parquet(*file) for file in files]
    rows = sum(table.num_rows for table in tables)
    if rows != info["total_frames"]:
        raise DamageError(f"has total_frames={info['total_frames']} in meta/info.json but {rows} rows in data")
    needed = 3 * 8 * sum(table.numbers for table in tables)  # read, converted, cut
    if needed > free:
        raise DamageError(f"takes {needed / GIB:.1f} GiB without its pictures but {free / GIB:.1f} GiB are free")
    start = 0
    for table in tables:
        _check_columns(table, features)
        for part in table.batches():
            for name, feature in features.items():
                _check_values(part.column(name), feature, f"{short(name)} in {table.shown}")
            _check_indices(part, start, bounds, num_tasks, table.shown)
            start += part.num_rows


def _check_columns(table: Parquet, features: Mapping[str, Any]) -> None:
    """Raise DamageError where the columns of a file are not the features, or have other types."""
    different = sorted(set(table.names) ^ set(features))
    if different:
        verb = "lacks" if different[0] in features else "has"
        raise DamageError(f"has a {table.shown} that {verb} the column {short(different[0])}, unlike meta/info.json")
    for name, feature in features.items():
        found = table.schema.field(name).type
        if not _fits(found, feature):
            raise DamageError(
                f"has a {table.shown} with the column {short(name)} of the type {short(str(found))} but meta/info.json "
                f"has dtype {feature['dtype']} and shape {feature.get('shape')}"
            )


def _fits(found: Any, feature: Mapping[str, Any]) -> bool:
    import pyarrow as pa

    types = pa.types
    if feature["dtype"] == "language":
        return True
    if feature["dtype"] == "image":
        inner = {field.name: field.type for field in found} if types.is_struct(found) else {}
        paths = (pa.null(), pa.string(), pa.large_string())
        return (
            set(inner) == {"bytes", "path"}
            and inner["bytes"] in (pa.binary(), pa.large_binary())
            and inner["path"] in paths
        )
    if isinstance(found, pa.BaseExtensionType):
        found = found.storage_type
    for _ in range(0 if feature["shape"] == [1] else len(feature["shape"])):
        if not (types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found)):
            return False
        found = found.value_type
    if feature["dtype"].startswith("float"):
        return bool(types.is_floating(found) or types.is_integer(found))
    if feature["dtype"] == "bool":
        return bool(types.is_boolean(found))
    if feature["dtype"] == "string":
        return bool(types.is_string(found) or types.is_large_string(found))
    return bool(types.is_integer(found))


def _check_values(column: Any, feature: Mapping[str, Any], where: str) -> None:
    """Raise DamageError where a column of a record batch lacks values, or has some of other sizes."""
    import pyarrow as pa

    if feature["dtype"] == "language":
        return
    if column.null_count:
        raise DamageError(f"lacks values of {where}")
    if feature["dtype"] == "image":
        _check_pictures(column.field("bytes"), feature["shape"], where)
        return
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    for size in [] if feature["shape"] == [1] else feature["shape"]:
        ends = None if pa.types.is_fixed_size_list(column.type) else np.diff(column.offsets.to_numpy())
        if (ends is None and column.type.list_size != size) or (ends is not None and (ends != size).any()):
            raise DamageError(f"has {where} of other sizes than the {feature['shape']} of meta/info.json")
        column = column.flatten()
        if column.null_count:
            raise DamageError(f"lacks values of {where}")


def _check_pictures(pictures: Any, shape: Sequence[int], where: str) -> None:
    """Raise DamageError unless all pictures are in the file itself and have the size of the feature."""
    if pictures.null_count:
        raise DamageError(
            f"names pictures of {where} by path or URL; put the pictures themselves into the parquet file"
        )
    for picture in pictures:
        size = _size(picture.as_py(), where)
        height, width, channels = size
        if list(shape) not in ([height, width, channels], [channels, height, width]):
            raise DamageError(f"has pictures of shape {list(size)} as {where} but meta/info.json has {list(shape)}")


def _size(content: bytes, where: str) -> tuple[int, int, int]:
    """Return height, width and channels from the header of a picture, without unpacking it."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = first_line(error).partition(" <")[0]
        raise DamageError(f"has pictures of {where} that are neither {' nor '.join(FORMATS)} ({reason})") from error
    return picture.height, picture.width, len(picture.getbands())


def _check_indices(part: Any, start: int, bounds: Bounds, num_tasks: int, shown: str) -> None:
    """Raise DamageError where rows name other episodes or tasks than there are."""
    rows = np.arange(start, start + part.num_rows)
    episodes = np.searchsorted(bounds.end, rows, side="right")
    if not np.array_equal(part.column("episode_index").to_numpy(zero_copy_only=False), episodes):
        raise DamageError(f"has a {shown} with episode_index other than the bounds in meta/episodes")
    tasks = part.column("task_index").to_numpy(zero_copy_only=False)
    if (tasks < 0).any() or (tasks >= num_tasks).any():
        raise DamageError(f"has a {shown} with task_index beyond the {num_tasks} of meta/tasks.parquet")
    seconds = part.column("timestamp").to_numpy(zero_copy_only=False)
    if not ((seconds >= 0) & (seconds <= MAX_SECONDS)).all():
        raise DamageError(f"has a {shown} with timestamp that is not finite, negative or above {MAX_SECONDS}")
