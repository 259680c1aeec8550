"""Checks the files of a LeRobotDataset folder before lerobot opens it.

The folder may come from anybody. Nothing outside it is read, and nothing is downloaded: lerobot would look for a
missing part on the hub, follow links and names, and open pictures by path or URL.

    meta/info.json                     features and counts      data/chunk-000/file-000.parquet       frames
    meta/tasks.parquet, stats.json     instructions, statistics videos/<camera>/chunk-000/file-000.mp4
    meta/episodes/chunk-000/file-000.parquet                    bounds of episodes
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsrl.foreign_json import first_line, short
from dsrl.schema import integer, positive
from dsrl.training.dataset_formats import MIB, DamageError, Parquet, check, read_json
from dsrl.training.dataset_frames import Bounds, check_frames
from dsrl.training.dataset_videos import check_videos

MAX_FILES = 200_000
MAX_FRAMES = 1 << 40
INFO, STATS, TASKS, EPISODES = "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/episodes"
PART = re.compile(r"chunk-\d{3,9}/file-\d{3,9}\.parquet")
NUMBER = r"\{%s(:0?\d{1,2}d)?\}"  # in a template for names of files
TEMPLATE = re.compile(
    r"(?:[\w.-]|/|" + "|".join([NUMBER % "chunk_index", NUMBER % "file_index", r"\{video_key\}"]) + r")+"
)
DTYPES = {"bool", "string", "image", "video"} | {
    f"{kind}{bits}" for kind, sizes in (("float", (16, 32, 64)), ("int", (8, 16, 32, 64))) for bits in sizes
}
DTYPES |= {"uint8", "uint16", "uint32", "uint64"}
LANGUAGE = ("language_persistent", "language_events")  # columns to which lerobot gives their types
NEEDED = {"timestamp": "float", "episode_index": "int", "index": "int", "task_index": "int"}


def check_dataset(folder: Path, named: str, free: int, pictures: bool = True) -> None:
    """Check all that lerobot reads of the dataset in `folder`, which `named` names in messages.

    Its numbers, and reading a frame of its videos, may take `free` bytes of memory. Where `pictures` will be
    read, all of its videos are decoded.

    Raises ValueError with one sentence for a missing, damaged, huge or leading-out part.
    """
    try:
        root = folder.resolve()
        if re.search(r"[*?\[\]]|::|://", str(root)):
            raise DamageError(
                "lies in a folder with * ? [ ] or :: in its path, where lerobot finds no files; rename that"
            )
        _check_entries(root)
        info = _checked_info(root)
        if (root / STATS).exists():
            _check_stats(read_json(root / STATS, STATS, 64 * MIB))
        num_tasks = _checked_tasks(root, info)
        bounds = _checked_episodes(root, info)
        check_frames(parts(root, "data"), info, bounds, num_tasks, free)
        check_videos(root, info, bounds, free, pictures)
    except DamageError as damage:
        advice = "" if ";" in str(damage) else "; get the dataset anew"
        raise ValueError(f"{named} {damage}{advice}") from damage
    except OSError as error:  # no permission, or a part vanished
        raise ValueError(f"{named} cannot be read ({first_line(error)}); make its files readable") from error


def parts(root: Path, folder: str) -> list[tuple[Path, str]]:
    """Return the parquet files of a folder in lerobot's order, each with its name in messages."""
    found = sorted((root / folder).glob("*/*.parquet"))
    if not found:
        raise DamageError(f"lacks {folder}/chunk-000/file-000.parquet")
    named = [(file, file.relative_to(root).as_posix()) for file in found]
    for _, name in named:
        if not PART.fullmatch(name.removeprefix(f"{folder}/")):
            raise DamageError(f"has a file {short(name)} but parts are named {folder}/chunk-000/file-000.parquet")
    return named


def _check_entries(root: Path) -> None:
    """Raise DamageError for links that leave the folder, and for pipes and devices, which may never end."""
    allowed = [root]
    if root.parent.name == "snapshots" and root.parent.parent.name.startswith("datasets--"):
        allowed.append(root.parent.parent / "blobs")  # a snapshot in the hub's cache consists of links to them
    count = 0
    for top in ("meta", "data", "videos"):
        waiting = [root / top] if os.path.lexists(root / top) else []
        while waiting:
            entry = waiting.pop()
            count += 1
            if count > MAX_FILES:
                raise DamageError(f"has more than {MAX_FILES} files")
            shown = short(entry.relative_to(root).as_posix())
            try:
                target = entry.resolve(strict=True)
            except (OSError, RuntimeError):  # no target, links in a circle
                raise DamageError(f"has the link {shown}, which leads nowhere") from None
            if not any(target.is_relative_to(one) for one in allowed):
                raise DamageError(f"has the link {shown}, which leaves its folder; copy what it names into the folder")
            if entry.is_dir() and not entry.is_symlink():
                waiting += entry.iterdir()
            elif entry.is_symlink() and target.is_dir():
                raise DamageError(f"has the link {shown} to a folder; copy that folder to its place")
            elif not target.is_file():
                raise DamageError(f"has {shown}, which is no file")


def _checked_info(root: Path) -> dict[str, Any]:
    if not (root / INFO).is_file():
        raise DamageError(f"lacks {INFO}")
    info = read_json(root / INFO, INFO, 4 * MIB)
    version = info.get("codebase_version")
    if not isinstance(version, str) or not re.fullmatch(r"v3\.\d{1,3}", version):
        raise DamageError(f"has codebase_version={short(version)} but lerobot reads v3.0; convert it with lerobot")
    for key in ("total_episodes", "total_frames", "total_tasks"):
        check(integer(1, MAX_FRAMES), f"{key} in {INFO}", info.get(key))
    check(positive(1_000_000), f"fps in {INFO}", info.get("fps"))
    for key in ("chunks_size", "data_files_size_in_mb", "video_files_size_in_mb"):
        if key in info:
            check(integer(1, MAX_FRAMES), f"{key} in {INFO}", info[key])
    features = info.get("features")
    if not isinstance(features, dict) or not 0 < len(features) <= 1000:
        raise DamageError(f"has features={short(features)} in {INFO} but it must be a mapping of 1 to 1000 entries")
    for name, feature in features.items():
        _check_feature(name, feature)
    for name, kind in NEEDED.items():
        if name not in features or not features[name]["dtype"].startswith(kind) or features[name]["shape"] != [1]:
            raise DamageError(f"has no feature {name} of one {kind} in {INFO}")
    has_video = any(feature["dtype"] == "video" for feature in features.values())
    for key, needed in (("data_path", True), ("video_path", has_video)):
        _check_template(key, info.get(key), needed=needed and key in info)
    return info


def _check_feature(name: str, feature: Any) -> None:
    where = f"the feature {short(name)} in {INFO}"
    if not name or len(name) > 200 or re.search(r"[/\\\x00-\x1f{}]", name) or name in (".", ".."):
        raise DamageError(f"has {where}, which no column and no folder can be named")
    if not isinstance(feature, dict):
        raise DamageError(f"has {where} with {short(feature)} but it must be a mapping")
    if name in LANGUAGE and feature.get("dtype") == "language":
        return
    dtype, shape = feature.get("dtype"), feature.get("shape")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise DamageError(f"has {where} of dtype {short(dtype)} but it must be one of {', '.join(sorted(DTYPES))}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 5:
        raise DamageError(f"has {where} of shape {short(shape)} but it must be a list of 1 to 5 sizes")
    for size in shape:
        check(integer(1, 1 << 20), f"a size in {where}", size)
    if dtype in ("image", "video") and len(shape) != 3:
        raise DamageError(f"has {where} of {len(shape)} sizes but pictures have height, width and channels")
    for key in ("info", "video_info"):
        if not isinstance(feature.get(key), dict | None):
            raise DamageError(f"has {where} with {key}={short(feature[key])} but it must be a mapping")


def _check_template(key: str, template: Any, *, needed: bool) -> None:
    """Raise DamageError where names of files are made in another way than with numbers and a camera's name."""
    if template is None and not needed:
        return
    if (
        not isinstance(template, str)
        or len(template) > 200
        or not TEMPLATE.fullmatch(template)
        or template.startswith("/")
        or ".." in template
    ):
        raise DamageError(f"has {key}={short(template)} in {INFO} but it must name files inside the folder")


def _check_stats(stats: Mapping[str, Any]) -> None:
    for name, feature in stats.items():
        if not isinstance(feature, dict):
            raise DamageError(f"has {short(name)}={short(feature)} in {STATS} but it must be a mapping")
        for statistic, value in feature.items():
            try:
                found = np.asarray(value)
            except ValueError:  # lists of several lengths
                found = np.empty(0, object)
            if found.dtype.kind not in "biuf":
                raise DamageError(f"has {short(name)}.{short(statistic)} in {STATS} but it must be an array of numbers")


def _checked_tasks(root: Path, info: Mapping[str, Any]) -> int:
    """Return the number of instructions."""
    if not (root / TASKS).is_file():
        raise DamageError(f"lacks {TASKS}")
    table = Parquet(root / TASKS, TASKS)
    if table.num_rows != info["total_tasks"] or not 2 <= len(table.names) <= 10:
        raise DamageError(
            f"has {table.num_rows} rows of {len(table.names)} columns in {TASKS} but {INFO} has total_tasks="
            f"{info['total_tasks']}, each with a text and a number"
        )
    for _ in table.batches():
        pass
    return int(table.num_rows)


def _checked_episodes(root: Path, info: Mapping[str, Any]) -> Bounds:
    """Return the bounds of episodes, which follow one another without a gap."""
    names = ["episode_index", "dataset_from_index", "dataset_to_index"]
    videos = [name for name, feature in info["features"].items() if feature["dtype"] == "video"]
    keys = [f"videos/{video}/{key}" for video in videos for key in ("chunk_index", "file_index", "from_timestamp")]
    read: dict[str, list[Any]] = {name: [] for name in [*names, "length", *keys]}
    rows = 0
    for file, shown in parts(root, EPISODES):
        table = Parquet(file, shown)
        rows += table.num_rows
        if rows > info["total_episodes"]:
            break
        for kind in table.column_types():
            raise DamageError(f"has a {shown} that declares columns of the type {short(kind)}")
        for part in table.batches():
            for name, columns in read.items():
                columns.append(_numbers(part, name, shown, whole=not name.endswith("from_timestamp")))
    if rows != info["total_episodes"]:
        raise DamageError(f"has total_episodes={info['total_episodes']} in {INFO} but {EPISODES} has {rows} or more")
    found = {name: np.concatenate(columns) for name, columns in read.items()}
    index, first, last = (found[name] for name in names)
    total = info["total_frames"]
    ends = np.concatenate([[0], last[:-1]])
    bad = (index != np.arange(rows)) | (first != ends) | (last <= first) | (last - first != found["length"])
    if bad.any() or last[-1] != total:
        episode = int(bad.argmax()) if bad.any() else rows - 1
        raise DamageError(
            f"has episode {episode} with frames {first[episode]} to {last[episode]} in {EPISODES}, which does not "
            f"follow on the one before within total_frames={total}"
        )
    return Bounds(first, last, {key: found[key] for key in keys})


def _numbers(part: Any, name: str, shown: str, *, whole: bool) -> Any:
    """Return a column of a record batch as an array; raises DamageError where it has other values than numbers."""
    import pyarrow as pa

    column = part.column(name) if name in part.schema.names else None
    allowed = (pa.types.is_integer,) if whole else (pa.types.is_integer, pa.types.is_floating)
    if column is None or column.null_count or not any(fits(column.type) for fits in allowed):
        raise DamageError(f"has a {shown} without {'whole ' if whole else ''}numbers in the column {name}")
    values = column.to_numpy(zero_copy_only=False)
    if not np.isfinite(values).all() or (values < 0).any() or (values > MAX_FRAMES).any():
        raise DamageError(f"has a {shown} with {name} that is negative, not finite or above {MAX_FRAMES}")
    return values.astype(np.int64 if whole else np.float64)
