"""Videos of a toy: every control step is recorded, outcomes are marked, and the file plays in real time."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from toys.guess import Echo, Guess
from toys.runs import short_parts, toy_parts

from dsrl.evaluation.episodes import evaluate
from dsrl.evaluation.noise_sources import base_noise
from dsrl.evaluation.video import (
    BORDER,
    FPS,
    GREEN,
    HEADER,
    LINE,
    MARGIN,
    MOST_FPS,
    MOST_LINES,
    PAUSE,
    RED,
    WHITE,
    Frame,
    VideoRecorder,
    alone,
    can_record,
    mp4,
    side_by_side,
)
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.final_evaluation import check_picture, record_video
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.errors import UserError
from dsrl.run.train import steer

SIDE = 400 + 2 * (BORDER + MARGIN)  # 8 pixels enlarged 50 times, and what surrounds them


def _played(sign: float) -> VideoRecorder:
    """Worlds 4 (hides a minus) and 5 (hides a plus), played by the constant `sign`."""
    recorder = VideoRecorder(Guess(3), 2)
    env = NoiseActionEnv(recorder, Echo(), RepeatNoise((2, 1), 1.0, None), horizon=2)
    evaluate(env, lambda encoding, seeds, decision: torch.full((len(seeds), 2, 1), sign), episodes=2, first_seed=4)
    return recorder


def _border(frame: Frame, side: int = 0) -> tuple[int, int, int]:
    pixel = frame[HEADER + MARGIN + 2, side * SIDE + SIDE // 2]
    return int(pixel[0]), int(pixel[1]), int(pixel[2])


def test_a_world_is_recorded_at_its_start_and_after_every_step_until_it_ends() -> None:
    recorder = _played(1.0)
    assert [len(frames) for frames in recorder.frames] == [1 + 6, 1 + 1]
    assert recorder.success_at == [None, 1]


def test_success_is_marked_from_its_step_on_and_its_absence_at_the_end_of_the_episode() -> None:
    frames = list(side_by_side(_played(1.0), _played(-1.0), [4, 5]))
    assert {frame.shape for frame in frames} == {(SIDE + HEADER, 2 * SIDE, 3)}
    first, second = frames[: 7 + PAUSE], frames[7 + PAUSE :]
    assert len(second) == 7 + PAUSE
    assert [_border(frame) for frame in first] == [WHITE] * 6 + [RED] * (1 + PAUSE)
    assert [_border(frame, 1) for frame in first] == [WHITE] + [GREEN] * (6 + PAUSE)
    assert [_border(frame) for frame in second] == [WHITE] + [GREEN] * (6 + PAUSE)


@pytest.mark.parametrize(("words", "lines"), [(8, 2), (16, 3), (400, MOST_LINES)])
def test_a_long_instruction_is_wrapped_above_every_picture_of_the_video(words: int, lines: int) -> None:
    base, steered = _played(1.0), _played(-1.0)
    base.instructions[1] = steered.instructions[1] = " ".join(["yellow"] * words)
    frames = list(side_by_side(base, steered, [4, 5]))
    header = HEADER + LINE * (lines - 1)
    assert {frame.shape for frame in frames} == {(SIDE + header, 2 * SIDE, 3)}
    beside = frames[-1][:header, SIDE - MARGIN : SIDE]
    assert (beside == 255).all()  # no letter is cut at the edge


def test_a_task_without_success_has_no_marks() -> None:
    recorder = _played(1.0)
    recorder.has_success, recorder.success_at = False, [None, None]
    assert {_border(frame) for frame in alone(recorder, [4, 5])} == {WHITE}


def test_only_the_recorded_worlds_are_drawn_and_only_until_they_end() -> None:
    drawn: list[tuple[int, int]] = []

    class Drawing(Guess):
        def picture(self, num_worlds: int) -> torch.Tensor:
            drawn.append((num_worlds, int(self.elapsed[0])))
            return torch.full((num_worlds, 3, 8, 8), int(self.elapsed[0]), dtype=torch.uint8)

    recorder = VideoRecorder(Drawing(2, max_steps=3), num_worlds=1)
    recorder.reset(torch.arange(2), [0, 9])
    for _ in range(5):
        recorder.step(torch.ones(2, 1))  # wrong in world 0, which the clock ends after 3 steps
    assert drawn == [(1, 0), (1, 1), (1, 2), (1, 3)]
    assert [int(frame[0, 0, 0]) for frame in recorder.frames[0]] == [0, 1, 2, 3]
    assert recorder.success_at == [None]


def test_worlds_behind_the_last_that_still_runs_are_drawn_no_more() -> None:
    drawn: list[int] = []

    class Drawing(Guess):
        def picture(self, num_worlds: int) -> torch.Tensor:
            drawn.append(num_worlds)
            return torch.zeros(num_worlds, 3, 8, 8, dtype=torch.uint8)

    recorder = VideoRecorder(Drawing(2, max_steps=3), num_worlds=2)
    recorder.reset(torch.arange(2), [0, 0])
    for _ in range(3):
        recorder.step(torch.tensor([[0.0], [-1.0]]))  # right in world 1 alone, which ends first
    assert [len(frames) for frames in recorder.frames] == [4, 2]
    assert drawn == [2, 2, 1, 1]


@pytest.mark.parametrize(("cameras", "expected"), [({"front": (3, 8, 8)}, True), ({}, False)])
def test_a_task_can_be_recorded_by_a_camera_of_its_policy(cameras: dict[str, tuple[int, int, int]], expected: bool):
    task = Guess(2)
    task.cameras = cameras
    assert can_record(task) == expected


def test_a_video_can_be_read_back_at_ten_pictures_a_second() -> None:
    frames = [np.full((48, 64, 3), 40 * i, np.uint8) for i in range(5)]
    with av.open(io.BytesIO(mp4(iter(frames)))) as container:
        assert container.streams.video[0].average_rate == FPS == 10
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 5
    assert np.abs(pictures[3].astype(int) - frames[3]).max() < 8


@pytest.mark.parametrize("fps", [5, 125])
def test_a_video_plays_in_real_time_at_any_control_frequency(fps: int) -> None:
    steps = 2 * fps
    recorder = VideoRecorder(Guess(1), 1)
    recorder.frames, recorder.success_at = [[np.zeros((8, 8, 3), np.uint8)] * (1 + steps)], [steps - 1]
    frames = list(alone(recorder, [4], fps))
    with av.open(io.BytesIO(mp4(iter(frames), fps))) as container:
        rate = container.streams.video[0].average_rate
    assert rate <= MOST_FPS
    assert len(frames) / rate == pytest.approx(2 + PAUSE / FPS, abs=float(2 / rate))
    assert _border(frames[-1]) == GREEN


@pytest.mark.parametrize(("named", "fps"), [(25, 25), (None, FPS)])
def test_a_video_has_the_control_frequency_that_its_task_names(named: int | None, fps: int) -> None:
    task = Guess(2)
    task.fps = named  # type: ignore[attr-defined]
    parts = replace(toy_parts(), task=task)
    act = base_noise(parts.policy.noise_shape)
    content, _ = record_video(parts, [act], [4])
    with av.open(io.BytesIO(content)) as container:
        assert container.streams.video[0].average_rate == fps


class Film(Guess):
    """The guessing task with a picture, from some call on one that cannot be drawn, or of another kind."""

    good, wrong = 0, torch.zeros(1, 3, 8, 8)

    def picture(self, num_worlds: int) -> torch.Tensor:
        self.good -= 1
        if self.good >= 0:
            return torch.zeros(num_worlds, 3, 8, 8, dtype=torch.uint8)
        if self.wrong is None:
            raise RuntimeError("no display")
        return self.wrong


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (None, r"\(RuntimeError: no display\)"),
        (torch.zeros(1, 3, 8, 8), r"\(.*Film.picture returned \[1, 3, 8, 8\] of float but 1 worlds make a .* uint8\)"),
        (
            torch.zeros(1, 8, 8, 3, dtype=torch.uint8),
            r"\(.*returned \[1, 8, 8, 3\] of uint8 but .*\[1, 3, H, W\] of",
        ),
        (np.zeros((1, 3, 8, 8), np.uint8), r"\(.*picture returned numpy.ndarray \[1, 3, 8, 8\] but"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_told_before_training(
    wrong: object, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Film, "wrong", wrong)
    parts = short_parts("dsrl_sac", Film)
    check_picture(parts)  # without video_episodes
    filming = replace(parts, settings=replace(parts.settings, video_episodes=2))
    with pytest.raises(ValueError, match=f"^task Film draws no picture for the video {found}.*type video_episodes=0$"):
        check_picture(filming)


def test_a_video_that_fails_after_training_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Film, "wrong", None)
    monkeypatch.setattr(Film, "good", 3)
    parts, folder = short_parts("dsrl_sac", Film), RunFolder(tmp_path)
    filming = replace(parts, settings=replace(parts.settings, video_episodes=2))
    with pytest.raises(
        UserError, match=r"^no video was made \(RuntimeError: no display\); all other results are there$"
    ):
        steer(filming, folder, {}, Screen())
    assert json.loads(folder.summary.read_text())["steered"]
    assert not folder.video.exists()


def test_a_trial_keeps_its_score_without_its_video_and_shows_none_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Film, "wrong", None)
    monkeypatch.setattr(Film, "good", 3)
    parts, folder = short_parts("dsrl_sac", Film), RunFolder(tmp_path, tmp_path, is_trial=True)
    folder.video.write_bytes(b"of the policy before")
    score = steer(replace(parts, settings=replace(parts.settings, video_episodes=2)), folder, {}, Screen())
    assert score == json.loads(folder.summary.read_text(encoding="utf-8"))["best_validation"]
    shown = "".join(capsys.readouterr().out.split())
    assert "novideowasmade(RuntimeError:nodisplay);allotherresultsarethere" in shown
    assert folder.video.name not in shown
