"""LeRobotDatasets: their folder or hub id, and their columns for a task's observations and actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsrl.interfaces import Task

IMAGES, STATE, ACTION = "observation.images.", "observation.state", "action"
SUCCESS, DONE, TRUNCATED, REWARD = "next.success", "next.done", "next.truncated", "next.reward"


def dataset_named(dataset: str, key: str) -> dict[str, Any]:
    """Return lerobot's arguments for the dataset in a folder, or of a hub id.

    Raises FileNotFoundError, with one sentence that names `key`, for anything else.
    """
    folder = Path(dataset)
    if folder.is_dir():
        if not (folder / "meta" / "info.json").is_file():
            raise FileNotFoundError(f"{key}{dataset} has no meta/info.json; type the folder of a LeRobotDataset")
        return {"repo_id": f"local/{folder.name}", "root": folder}
    if folder.is_absolute() or dataset.count("/") != 1:
        raise FileNotFoundError(
            f"{key}{dataset} is neither a folder nor a hub id (owner/name); type that of a LeRobotDataset"
        )
    return {"repo_id": dataset}


def columns_of(task: Task, *flags: str, reward: bool = False) -> dict[str, dict[str, Any]]:
    """Return the columns of a dataset of `task`, with `flags` of every step and, where `reward` is set, rewards."""
    columns: dict[str, dict[str, Any]] = {
        f"{IMAGES}{camera}": {"dtype": "image", "shape": (h, w, 3), "names": ["height", "width", "channels"]}
        for camera, (_, h, w) in task.cameras.items()
    }
    numbers = {STATE: task.state_dim, ACTION: task.action_dim, **({REWARD: 1} if reward else {})}
    columns |= {name: {"dtype": "float32", "shape": (size,), "names": None} for name, size in numbers.items()}
    return columns | {name: {"dtype": "bool", "shape": (1,), "names": None} for name in flags}
