"""Side-by-side films of the same worlds, base policy left and steered policy right, written in this process.

replay(env over Film(task)) -> frames [world][time] -> base | steered -> mp4
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dsrl.interfaces import Observation, Step, Task

Frame = NDArray[np.uint8]  # [H, W, 3]

HEIGHT = 240  # pixels of one picture in the film, at least
EVERY = 2  # control steps between two pictures: drawing costs more than the physics


def can_film(task: Task) -> bool:
    """Whether there is anything to see of a task: a picture for people, or a camera of its policy."""
    return hasattr(task, "picture") or bool(task.cameras)


class Film:
    """A task that behaves like the one it wraps and keeps a picture of its first worlds after every step."""

    def __init__(self, task: Task, num_worlds: int) -> None:
        """Film rows 0 … num_worlds - 1 as bystanders see them, or through the first camera of `task`."""
        self._task, self._num_worlds = task, num_worlds
        self.num_envs, self.state_dim, self.action_dim = task.num_envs, task.state_dim, task.action_dim
        self.cameras: Mapping[str, tuple[int, int, int]] = task.cameras
        self.max_steps, self.has_success = task.max_steps, task.has_success
        self.frames: list[list[Frame]] = [[] for _ in range(num_worlds)]
        self.successes = [False] * num_worlds
        self.instructions = [""] * num_worlds
        self._over = [False] * num_worlds
        self._elapsed = 0  # control steps

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """As the wrapped task."""
        self._task.reset(rows, seeds)

    def observe(self) -> Observation:
        """As the wrapped task."""
        observation = self._task.observe()
        self.instructions = list(observation.instruction[: self._num_worlds])
        return observation

    def hold(self) -> Tensor:
        """As the wrapped task."""
        return self._task.hold()

    def step(self, action: Tensor) -> Step:
        """As the wrapped task; then, at every EVERY-th step and at a world's end, take a picture of those still on."""
        step = self._task.step(action)
        self._elapsed += 1
        ends = (step.terminated | step.truncated).tolist()
        going = [world for world in range(self._num_worlds) if not self._over[world]]
        wanted = [world for world in going if ends[world] or self._elapsed % EVERY == 0]
        pictures = self._look() if wanted else None
        for world in wanted:
            assert pictures is not None
            self.frames[world].append(pictures[world].permute(1, 2, 0).cpu().numpy().astype(np.uint8))
            self._over[world] = ends[world]
            self.successes[world] = step.success is not None and bool(step.success[world])
        return step

    def _look(self) -> Tensor:
        """One camera's pictures [B, 3, H, W], from a task that can draw one alone or out of a whole observation."""
        picture = getattr(self._task, "picture", None)
        pictures: Tensor = next(iter(self._task.observe().images.values())) if picture is None else picture()
        return pictures


def side_by_side(base: Film, steered: Film, seeds: Sequence[int]) -> list[Frame]:
    """One film of all worlds in turn; the shorter side waits on its last picture."""
    return _in_turn({"base": base, "steered": steered}, seeds)


def alone(film: Film, seeds: Sequence[int]) -> list[Frame]:
    """One film of all worlds in turn, under a single policy."""
    return _in_turn({"base": film}, seeds)


def _in_turn(films: Mapping[str, Film], seeds: Sequence[int]) -> list[Frame]:
    frames: list[Frame] = []
    for world, seed in enumerate(seeds):
        sides = []
        for name, film in films.items():
            title = f"{name} · world {seed} · {film.instructions[world]}"
            sides.append(_titled(film.frames[world], title, film.successes[world]))
        for time in range(max(map(len, sides)) + 5):
            frames.append(np.concatenate([side[min(time, len(side) - 1)] for side in sides], axis=1))
    return frames


def write_mp4(path: Path, frames: Sequence[Frame], fps: int = 5) -> None:
    """Write frames [H, W, 3] (H and W even) as H.264, which every browser plays."""
    import av

    height, width = frames[0].shape[:2]
    with av.open(str(path), mode="w") as container:
        stream: Any = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _titled(frames: Sequence[Frame], title: str, success: bool) -> list[Frame]:
    """The pictures enlarged, with a title; the last one says how it ended."""
    pictures = [_picture(frame, title) for frame in frames]
    return [*pictures, _picture(frames[-1], f"{title} · {'success' if success else 'no success'}")]


def _picture(frame: Frame, title: str) -> Frame:
    from PIL import Image, ImageDraw

    scale = max(1, -(-HEIGHT // frame.shape[0]))
    size = (frame.shape[1] * scale // 2 * 2, frame.shape[0] * scale // 2 * 2)
    image = Image.new("RGB", (size[0], size[1] + 24), "white")
    image.paste(Image.fromarray(frame).resize(size, Image.Resampling.NEAREST), (0, 24))
    ImageDraw.Draw(image).text((6, 6), title, fill="black")
    return np.asarray(image, dtype=np.uint8)
