"""The monitor of a run: the live line of training, and the time of building the simulation."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text
from toys.runs import toy_parts

from dsrl.logging.csv import CsvLogger
from dsrl.run.monitor import Monitor
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal import console
from dsrl.run.terminal.console import Screen
from dsrl.run.train import steer
from dsrl.training.metrics import Counters

FOREIGN = "[red]a\x1b[31mb\x1b]0;c\x07\u202ed\ud800\r\n"
"""A name of somebody's file: markup, escape codes, a direction mark, half a letter, and line breaks."""


def _text_screen() -> tuple[Screen, StringIO]:
    text = StringIO()
    return Screen(Console(file=text, soft_wrap=True)), text


@pytest.mark.parametrize(
    ("episodes", "shown"),
    [(3, "8/400 decisions · too few episodes have ended yet"), (4, "8/400 decisions · training success 100%")],
)
def test_success_in_training_is_shown_once_as_many_episodes_as_worlds_have_ended(
    episodes: int, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that it would be the success of the fastest."""
    monkeypatch.setattr(console, "PLAIN_INTERVAL", 0.0)
    parts = toy_parts()
    assert len(parts.env) == 4
    parts = replace(parts, settings=replace(parts.settings, decisions=400))
    screen, text = _text_screen()
    monitor = Monitor(parts, RunFolder(tmp_path), {}, screen, 0.0)
    with monitor.training():
        monitor.show(Counters(decisions=8, episodes=episodes), {"train/return": 1.0, "train/success_rate": 1.0})
    assert shown in text.getvalue()


def test_the_rate_is_of_this_process_and_of_learning_alone_once_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that continues has not taken the decisions before it, and warm-up is faster than learning."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: clock.now))
    parts = toy_parts()
    parts = replace(parts, settings=replace(parts.settings, decisions=6000))
    screen, text = _text_screen()
    monitor = Monitor(parts, RunFolder(tmp_path), {}, screen, 0.0)
    with monitor.training():
        for clock.now, decisions, gradient_steps in ((1, 4000, 0), (21, 5000, 0), (81, 5004, 20), (101, 5104, 20)):
            monitor.show(Counters(decisions=decisions, gradient_steps=gradient_steps), {})
    lines = [line.split(" · ", 2) for line in text.getvalue().splitlines() if "training: " in line]
    assert [(line[0].split()[1], line[2]) for line in lines] == [
        ("5000/6000", "50 decisions/s · 20 s left"),
        ("5104/6000", "5 decisions/s · 2 min 59 s left"),
    ]


@pytest.mark.parametrize("kind", ["phase", "sentence", "table", "log"])
def test_all_that_reaches_the_terminal_and_the_log_is_printable(kind: str, tmp_path: Path) -> None:
    screen, text = _text_screen()
    table = Table("run", title=Text(FOREIGN))
    table.add_row(Text(FOREIGN))
    with screen.logging_to(tmp_path / "train.log"):
        if kind == "log":
            screen.log_only(FOREIGN)
        else:
            (screen.phase if kind == "phase" else screen.print)(table if kind == "table" else FOREIGN)
    logged = (tmp_path / "train.log").read_text()
    assert "[red]a [31mb ]0;c " in logged
    assert all(line.isprintable() for line in (logged + text.getvalue()).split("\n"))


def test_a_continued_curve_has_its_gradient_steps_and_none_of_an_earlier_version(tmp_path: Path) -> None:
    monitors = [Monitor(toy_parts(), RunFolder(tmp_path), {}, _text_screen()[0], 0.0) for _ in range(3)]
    monitors[0].validate(Counters(env_steps=8, decisions=4, gradient_steps=30))
    state = monitors[0].state_dict()
    monitors[1].load_state_dict(state)
    assert monitors[1].curve == monitors[0].curve
    monitors[2].load_state_dict({**state, "curve": [point[:3] for point in state["curve"]]})
    assert [(point.decisions, point.gradient_steps) for point in monitors[2].curve] == [(4, 0)]


@pytest.mark.parametrize("seconds", [None, 1234.5])
def test_the_simulation_is_built_once_and_its_time_is_no_work(seconds: float | None, tmp_path: Path) -> None:
    """With noise=auto it is built before the run."""
    parts = toy_parts()
    settings = replace(parts.settings, decisions=40, warmup_decisions=20, eval_every=40, video_episodes=0)
    screen, text = _text_screen()
    steer(replace(parts, settings=settings, setup_seconds=seconds), RunFolder(tmp_path), {}, screen)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert text.getvalue().count("building the simulation …") == (1 if seconds is None else 0)
    assert summary["setup_time_s"] == seconds or (seconds is None and 0 < summary["setup_time_s"] < 600)
    assert 0 < summary["wall_time_s"] < 600
    assert time.time() - 600 < summary["end_time_s"] <= time.time()


def test_a_logger_that_one_process_lacked_continues_its_rows_in_the_next(tmp_path: Path) -> None:
    state = None
    for lacked, decisions in ((False, 8), (True, 16), (False, 24)):
        loggers = {} if lacked else {"csv": CsvLogger(str(tmp_path))}
        monitor = Monitor(toy_parts(), RunFolder(tmp_path), loggers, _text_screen()[0], 0.0)
        monitor.load_state_dict(state)
        monitor.log({}, Counters(decisions=decisions))
        state = monitor.state_dict()
        rows = [json.loads(row) for row in state["loggers"]["csv CsvLogger"]]
        assert [row["decisions"] for row in rows] == [8] + [24] * (decisions == 24)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3


def test_two_loggers_of_one_class_continue_their_own_rows_and_one_of_an_earlier_version_its_own(tmp_path: Path) -> None:
    folders, state = {name: tmp_path / name for name in ("csv", "lab")}, None
    for folder in folders.values():
        folder.mkdir()
    for decisions in (8, 16):
        loggers = {name: CsvLogger(str(folder)) for name, folder in folders.items()}
        monitor = Monitor(toy_parts(), RunFolder(tmp_path), loggers, _text_screen()[0], 0.0)
        monitor.load_state_dict(state)
        monitor.log({}, Counters(decisions=decisions))
        state = monitor.state_dict()
    rows = {name: (folder / "metrics.jsonl").read_text().splitlines() for name, folder in folders.items()}
    assert [len(found) for found in rows.values()] == [2, 2]
    for number, earlier in enumerate(("CsvLogger", "csv"), start=1):  # the class or the name alone
        monitor = Monitor(toy_parts(), RunFolder(tmp_path), {"csv": loggers["csv"]}, _text_screen()[0], 0.0)
        monitor.load_state_dict({**state, "loggers": {earlier: state["loggers"]["lab CsvLogger"][:number]}})
        assert (folders["csv"] / "metrics.jsonl").read_text().splitlines() == rows["lab"][:number]


def test_a_logger_in_the_place_of_one_of_another_class_begins_anew_and_leaves_its_state(tmp_path: Path) -> None:
    class OwnLogger(CsvLogger):
        def state_dict(self) -> Any:
            return "mine"

        def load_state_dict(self, state: Any) -> None:
            loaded.append(state)

    loaded: list[Any] = []
    state = None
    for kind in (OwnLogger, CsvLogger, OwnLogger):
        monitor = Monitor(toy_parts(), RunFolder(tmp_path), {"csv": kind(str(tmp_path))}, _text_screen()[0], 0.0)
        monitor.load_state_dict(state)
        state = monitor.state_dict()
    assert loaded == [None, "mine"]
    assert state["loggers"] == {"csv CsvLogger": [], "csv OwnLogger": "mine"}
