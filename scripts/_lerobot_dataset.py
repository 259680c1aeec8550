"""Creates and opens LeRobotDatasets, without lerobot's progress bars and without its search for FFmpeg."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from dsrl.available_memory import available_memory
from dsrl.interfaces import Task
from dsrl.training.dataset_process import check_apart
from dsrl.training.lerobot_columns import DECODER, NO_HUB_ID, columns_of, dataset_named, downloaded

KEY = "--dataset "


def create_dataset(
    out: Path, task: Task, hz: int, episodes: int, *flags: str, reward: bool = False, robot: int | None = None
) -> Any:
    """Return an empty LeRobotDataset in `out` for the observations and actions of `task`, `hz` frames a second.

    `flags` are its boolean columns; `reward` adds next.reward; the numbers of the state after the first `robot` are
    those of the surroundings. It is one part for up to `episodes` episodes: lerobot
    gives the statistics of flags another type in a part whose episodes all have a single frame.
    """
    from datasets import disable_progress_bars
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    disable_progress_bars()  # one per episode
    return LeRobotDataset.create(
        f"local/{out.name}",
        hz,
        columns_of(task, *flags, reward=reward, robot=robot),
        root=out,
        use_videos=False,
        image_writer_threads=2 if task.cameras else 0,
        metadata_buffer_size=episodes + 1,
        video_backend=DECODER,
    )


def open_dataset(dataset: str, **options: Any) -> Any:
    """Return the LeRobotDataset in a folder or of a hub id, every file checked before; `options` are lerobot's.

    Raises FileNotFoundError for a `dataset` that is neither, ValueError for one that is damaged or reaches beyond its
    folder.
    """
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    arguments = dataset_named(dataset, KEY)
    folder = arguments.get("root") or downloaded(dataset, KEY)
    _check(folder, f"{KEY}{dataset}")
    return LeRobotDataset(NO_HUB_ID, folder, video_backend=DECODER, **options)


@cache
def _check(folder: Path, named: str) -> None:
    check_apart(folder, named, available_memory())


def numbers(columns: Any) -> Any:
    """Return a column [N] or [N, D] as float32 [N, D]: lerobot stores vectors of one number as plain numbers."""
    import numpy as np

    stacked = np.stack(columns).astype(np.float32)
    return stacked.reshape(len(stacked), -1)
