"""A run whose folder was moved ends with one sentence, and leaves the folder that now has its name alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from toys.guess import Guess
from toys.runs import short_parts
from toys.typed import digests

from dsrl.logging.csv import CsvLogger
from dsrl.logging.tensorboard import TensorBoardLogger
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.errors import UserError
from dsrl.run.train import steer

WRITTEN = ("metrics.jsonl", "metrics.csv", "base.json", "learning_curve.png", "base_vs_steered.mp4", "summary.json")


class Pictured(CsvLogger):
    """A logger that shows videos and results."""

    def video(self, name: str, path: Path, env_steps: int) -> None:
        path.with_name(f"seen_{path.name}").write_bytes(path.read_bytes())

    def results(self, values: object) -> None:
        pass


class Waiting(Screen):
    """A screen on which something happens once, at the sentence that begins with `words`."""

    def __init__(self, words: str, happen: Callable[[], None]) -> None:
        super().__init__(Console(file=StringIO()))
        self.words, self.happen = words, [happen]

    def phase(self, sentence: str) -> None:
        super().phase(sentence)
        if self.happen and sentence.startswith(self.words):
            self.happen.pop()()


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("building the simulation", "by another run"),
        ("base policy on", "by another run"),
        ("training for", "by another run"),
        ("training for", "by nobody"),
        ("recording a video", "by another run"),
        ("validation after 40 decisions", "by another run"),
        ("steered policy", "by another run"),
        ("steered policy", "by an empty folder"),
        ("confirming", "by another run"),
    ],
)
def test_a_run_whose_folder_was_moved_leaves_what_now_has_its_name_alone(
    words: str, taken: str, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    before: list[dict[str, str]] = []

    def move() -> None:
        folder.path.rename(tmp_path / "moved")
        if taken != "by nobody":
            (folder.path / "videos").mkdir(parents=True)
        if taken == "by another run":
            for name in (*WRITTEN, "failure.txt", "videos/best_20.mp4"):
                (folder.path / name).write_text("of another run")
        before.append(digests(folder.path))

    parts, screen = short_parts("dsrl_sac", Guess), Waiting(words, move)
    settings = replace(parts.settings, decisions=40, eval_every=20, plot=True, video_episodes=2, confirm_episodes=4)
    ending = pytest.raises(UserError, match=r"run cannot be read or written \(it was moved or removed\); .* continues")
    with ending, folder.claimed(), folder.noting_failure():
        loggers = {"csv": Pictured(str(folder.path)), "tensorboard": TensorBoardLogger(str(folder.path))}
        folder.begin({"config.yaml": "seed: 0\n"}, lambda: "the same command continues")
        steer(replace(parts, settings=settings), folder, loggers, screen)
    assert before == [digests(folder.path)]
    assert folder.path.exists() == (taken != "by nobody")
