"""LeRobotDatasets: their folder or hub id, and their columns for a task's observations and actions."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from dsrl.foreign_json import first_line
from dsrl.interfaces import Task

IMAGES, STATE, ACTION = "observation.images.", "observation.state", "action"
SURROUNDINGS = "observation.environment_state"  # further numbers of the state, those that are not the robot's
SUCCESS, DONE, TRUNCATED, REWARD = "next.success", "next.done", "next.truncated", "next.reward"

RECORDED_STATES = (
    "agent_pos",
    "environment_state",
)  # columns of lerobot-eval's recordings, named as by its environments
RECORDED_IMAGE = "pixels"

DECODER = "pyav"  # has FFmpeg inside; lerobot's default needs an installed one and prints 100 lines without it
# lerobot looks for missing parts of a folder on the hub, under this name; as it is no hub id, that ends in an error
NO_HUB_ID = "a folder, nothing of the hub"


def dataset_named(dataset: str, key: str) -> dict[str, Any]:
    """Return lerobot's arguments for the dataset in a folder, or of a hub id.

    Raises FileNotFoundError, with one sentence that names `key`, for anything else.
    """
    folder = Path(dataset)
    if folder.is_dir():
        if not (folder / "meta" / "info.json").is_file():
            raise FileNotFoundError(f"{key}{dataset} has no meta/info.json; type the folder of a LeRobotDataset")
        return {"repo_id": NO_HUB_ID, "root": folder}
    if folder.is_absolute() or dataset.count("/") != 1:
        raise FileNotFoundError(
            f"{key}{dataset} is neither a folder nor a hub id (owner/name); type that of a LeRobotDataset"
        )
    return {"repo_id": dataset}


def downloaded(repo_id: str, key: str) -> Path:
    """Return the folder of a dataset of the hub, where lerobot has it or would download it to.

    Raises FileNotFoundError, with one sentence that names `key`, where it cannot be had.
    """
    import httpx
    from huggingface_hub import snapshot_download
    from lerobot.datasets.dataset_metadata import CODEBASE_VERSION
    from lerobot.datasets.utils import CompatibilityError, get_safe_version, has_legacy_hub_download_metadata
    from lerobot.utils.constants import HF_LEROBOT_HOME, HF_LEROBOT_HUB_CACHE

    present = Path(HF_LEROBOT_HOME) / repo_id
    if (present / "meta" / "info.json").is_file() and not has_legacy_hub_download_metadata(present):
        return present
    try:
        return Path(
            snapshot_download(
                repo_id,
                repo_type="dataset",
                revision=get_safe_version(repo_id, CODEBASE_VERSION),
                cache_dir=HF_LEROBOT_HUB_CACHE,
                allow_patterns=["meta/*", "data/*", "videos/*"],
            )
        )
    except (httpx.HTTPError, OSError, ValueError, RuntimeError, CompatibilityError) as error:
        raise FileNotFoundError(
            f"{key}{repo_id} is no folder and cannot be downloaded ({first_line(error)}); "
            "type the folder of a LeRobotDataset"
        ) from error


def state_columns(names: Collection[str]) -> list[str]:
    """Return the columns whose numbers, one after the other, are the state; lerobot-eval has names of its own."""
    usual = (STATE, SURROUNDINGS) if STATE in names else RECORDED_STATES
    return [name for name in usual if name in names]


def image_keys(cameras: Collection[str]) -> dict[str, str]:
    """Return lerobot's name for each camera; its environments call an only camera observation.image."""
    return {
        camera: f"observation.{camera}" if camera == "image" and len(cameras) == 1 else f"{IMAGES}{camera}"
        for camera in cameras
    }


def image_column(names: Collection[str], camera: str) -> str | None:
    """Return the column with the pictures of a camera, None without one; lerobot-eval has names of its own."""
    named = (f"{IMAGES}{camera}", f"observation.{camera}", f"{RECORDED_IMAGE}/{camera}")
    alone = (RECORDED_IMAGE,) if camera == "image" else ()
    return next((name for name in (*named, *alone) if name in names), None)


def columns_of(task: Task, *flags: str, reward: bool = False, robot: int | None = None) -> dict[str, dict[str, Any]]:
    """Return the columns of a dataset of `task`, with `flags` of every step and, where `reward` is set, rewards.

    The numbers of the state after the first `robot` have a column of their own, that of the surroundings.
    """
    keys = image_keys(task.cameras)
    columns: dict[str, dict[str, Any]] = {
        keys[camera]: {"dtype": "image", "shape": (h, w, 3), "names": ["height", "width", "channels"]}
        for camera, (_, h, w) in task.cameras.items()
    }
    states = {STATE: task.state_dim} if robot is None else {STATE: robot, SURROUNDINGS: task.state_dim - robot}
    numbers = {**states, ACTION: task.action_dim, **({REWARD: 1} if reward else {})}
    columns |= {name: {"dtype": "float32", "shape": (size,), "names": None} for name, size in numbers.items()}
    return columns | {name: {"dtype": "bool", "shape": (1,), "names": None} for name in flags}
