"""Records the same worlds under two policies and writes them as one video, base policy left and steered policy right.

play(env over VideoRecorder(task)) -> pictures [world][time] -> base | steered -> mp4
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dsrl.interfaces import Filmable, Observation, Step, Task
from dsrl.rules import task_rules

Frame = NDArray[np.uint8]  # [H, W, 3]

FPS = 10  # control steps per second of a task that names none; a video plays in real time
MOST_FPS = 50  # pictures per second; of a faster task every second, third, … control step is shown
MIN_SIDE = 400  # pixels: smaller pictures are enlarged
MARGIN = 4  # pixels of white around a panel
BORDER = 8  # pixels around a picture, coloured by success and at the end of the episode
HEADER = 60  # pixels above a picture, with one line of a subtitle
LINE, MOST_LINES = 22, 4  # pixels of a further line of it (even, as the height of a video), and lines of the longest
PAUSE = 15  # pictures at FPS that show the end of both episodes

WHITE, BLACK, GREEN, RED = (255, 255, 255), (0, 0, 0), (30, 150, 50), (190, 50, 40)


def can_record(task: Task) -> bool:
    """Whether a task has pictures: drawn for people by `picture`, or those of its policy's cameras."""
    return isinstance(task, Filmable) or bool(task.cameras)


class VideoRecorder:
    """Wraps a task and records a picture of its first worlds after every control step, until each world ends."""

    def __init__(self, task: Task, num_worlds: int) -> None:
        """Record rows 0 … num_worlds - 1 by the picture for people, or by the first camera of the policy."""
        self._task, self._num_worlds = task, num_worlds
        self.num_envs, self.state_dim, self.action_dim = task.num_envs, task.state_dim, task.action_dim
        self.cameras: Mapping[str, tuple[int, int, int]] = task.cameras
        self.max_steps, self.has_success = task.max_steps, task.has_success
        self.frames: list[list[Frame]] = [[] for _ in range(num_worlds)]
        self.success_at: list[int | None] = [None] * num_worlds  # index of the first frame with success
        self.instructions = [""] * num_worlds
        self._ended = [False] * num_worlds

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
        """Step the wrapped task and record the recorded worlds that had not ended; the first call records the start."""
        if not self.frames[0]:
            self._record(range(self._num_worlds))
        step = task_rules.step_all(self._task, action)
        running = [world for world in range(self._num_worlds) if not self._ended[world]]
        for world in running:
            self._ended[world] = bool(step.terminated[world] | step.truncated[world])
            if self.success_at[world] is None and step.success is not None and bool(step.success[world]):
                self.success_at[world] = len(self.frames[world])
        self._record(running)
        return step

    def _record(self, worlds: Sequence[int]) -> None:
        if worlds:
            pictures = self._pictures(max(worlds) + 1).permute(0, 2, 3, 1).cpu().numpy()
            for world in worlds:
                self.frames[world].append(pictures[world].astype(np.uint8))  # a copy

    def _pictures(self, num_worlds: int) -> Tensor:
        """Draw the first worlds, uint8 [num_worlds, 3, H, W]; drawing takes longer than simulating."""
        if isinstance(self._task, Filmable):
            return task_rules.picture(self._task, num_worlds)
        return next(iter(self._task.observe().images.values()))[:num_worlds]


def side_by_side(base: VideoRecorder, steered: VideoRecorder, seeds: Sequence[int], fps: int = FPS) -> Iterator[Frame]:
    """The frames [H, W, 3] of all worlds, one world after the other; the shorter side stays at its last picture.

    They are those of every `stride(fps)`-th control step; `fps` is the task's control steps per second.
    """
    return _in_turn({"base policy": base, "steered policy": steered}, seeds, fps)


def alone(recorder: VideoRecorder, seeds: Sequence[int], fps: int = FPS) -> Iterator[Frame]:
    """The frames [H, W, 3] of all worlds, one world after the other, under a single policy, as `side_by_side`."""
    return _in_turn({"policy": recorder}, seeds, fps)


def stride(fps: int) -> int:
    """Return the control steps from one picture of a video to the next, of a task with `fps` of them per second."""
    return -(-fps // MOST_FPS)


def _in_turn(recorders: Mapping[str, VideoRecorder], seeds: Sequence[int], fps: int) -> Iterator[Frame]:
    subtitles = {name: [_subtitle(one, *pair) for pair in enumerate(seeds)] for name, one in recorders.items()}
    most = max(len(lines) for own in subtitles.values() for lines in own)
    padded = {name: [lines + [""] * (most - len(lines)) for lines in own] for name, own in subtitles.items()}
    for world in range(len(seeds)):
        length = max(len(recorder.frames[world]) for recorder in recorders.values()) + PAUSE * fps // FPS
        sides = [
            _side(name, recorder, world, padded[name][world], range(0, length, stride(fps)))
            for name, recorder in recorders.items()
        ]
        for panels in zip(*sides, strict=True):
            yield np.concatenate(panels, axis=1)


def _subtitle(recorder: VideoRecorder, world: int, seed: int) -> list[str]:
    """Name a world and its instruction, in lines as wide as the picture; more than `MOST_LINES` end in …"""
    from PIL import ImageFont

    text = " · ".join(filter(None, (f"world {seed}", recorder.instructions[world])))
    font, (_, width) = ImageFont.load_default(18), _size(recorder.frames[world][0])
    lines = [text]
    for letters in range(min(len(text), width), 2, -1):
        lines = textwrap.wrap(text, letters, max_lines=MOST_LINES, placeholder=" …")
        if all(font.getlength(line) <= width for line in lines):
            break
    return lines


def _side(name: str, recorder: VideoRecorder, world: int, subtitle: Sequence[str], times: range) -> Iterator[Frame]:
    """The panels of one policy in one world after `times` control steps."""
    frames, success_at = recorder.frames[world], recorder.success_at[world]
    for time in times:
        frame = frames[min(time, len(frames) - 1)]
        outcome, colour = "", WHITE
        if success_at is not None and time >= success_at:
            outcome, colour = "success", GREEN
        elif recorder.has_success and time >= len(frames) - 1:
            outcome, colour = "no success", RED
        yield _panel(frame, name, subtitle, outcome, colour)


def _size(frame: Frame) -> tuple[int, int]:
    """Height and width of a picture as it is shown, enlarged."""
    scale = max(1, -(-MIN_SIDE // min(frame.shape[:2])))
    height, width = (pixels * scale // 2 * 2 for pixels in frame.shape[:2])
    return height, width


def _panel(frame: Frame, title: str, subtitle: Sequence[str], outcome: str, colour: tuple[int, int, int]) -> Frame:
    """The picture, enlarged, in a border of `colour`, below title, outcome and the lines of the subtitle."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = _size(frame)
    inset, header = MARGIN + BORDER, HEADER + LINE * (len(subtitle) - 1)
    image = Image.new("RGB", (width + 2 * inset, height + 2 * inset + header), WHITE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((MARGIN, header + MARGIN, image.width - MARGIN - 1, image.height - MARGIN - 1), fill=colour)
    image.paste(Image.fromarray(frame).resize((width, height), Image.Resampling.NEAREST), (inset, header + inset))
    large, small = ImageFont.load_default(24), ImageFont.load_default(18)
    draw.text((inset, 18), title, fill=BLACK, font=large, anchor="lm")
    draw.text((image.width - inset, 18), outcome, fill=colour, font=large, anchor="rm")
    for number, line in enumerate(subtitle):
        draw.text((inset, 46 + LINE * number), line, fill=BLACK, font=small, anchor="lm")
    return np.asarray(image, dtype=np.uint8)


def mp4(frames: Iterable[Frame], fps: int = FPS) -> bytes:
    """Encode frames [H, W, 3] (H and W even) as H.264, which every browser plays.

    They are of every `stride(fps)`-th of `fps` control steps per second.
    """
    import av

    frames, content = iter(frames), io.BytesIO()
    first = next(frames)
    with av.open(content, mode="w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps, stride(fps)))
        stream.height, stream.width, stream.pix_fmt = *first.shape[:2], "yuv420p"
        for frame in chain([first], frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return content.getvalue()
