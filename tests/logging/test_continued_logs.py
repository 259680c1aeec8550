"""What TensorBoard and wandb hold of a run that was interrupted: one run, every point once."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toys.wandb_files import history

from dsrl.logging.csv import CsvLogger
from dsrl.logging.tensorboard import TensorBoardLogger
from dsrl.logging.wandb import WandbLogger

POINTS = [({"a": 0.5 * i, f"only_{i}": 1.0}, 10 * i) for i in range(1, 8)]


def interrupted(make: Any, video: Path | None = None) -> None:
    """One process logs five points, its last checkpoint knows three and the video; the next goes on to the end."""
    first = make()
    first.load_state_dict(None)
    for metrics, env_steps in POINTS[:3]:
        first.log(metrics, env_steps)
    if video is not None:
        first.video("best", video, 30)
    position = json.loads(json.dumps(first.state_dict()))  # as a checkpoint keeps it
    for metrics, env_steps in POINTS[3:5]:
        first.log({"a": -metrics["a"]}, env_steps)
    first.close()
    second = make()
    second.load_state_dict(position)
    for metrics, env_steps in POINTS[3:]:
        second.log(metrics, env_steps)
    second.close()


@pytest.mark.parametrize("cut", [0, 5])
def test_tensorboard_shows_every_point_once_also_where_a_kill_cut_a_record_short(cut: int, tmp_path: Path) -> None:
    class Killed(TensorBoardLogger):
        def close(self) -> None:
            if len(list(self._folder.iterdir())) == 1 and self._file is not None:
                self._file.write_bytes(self._file.read_bytes()[: -cut or None])

    interrupted(lambda: Killed(str(tmp_path)))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert [(point.step, point.value) for point in shown.Scalars("a")] == [(s, m["a"]) for m, s in POINTS]
    assert [point.step for point in shown.Scalars("only_7")] == [70]


def test_tensorboard_hides_points_that_were_logged_after_a_checkpoint_at_the_same_step(tmp_path: Path) -> None:
    position = None
    for _ in range(3):  # the final results of a run that is killed before it writes its summary, twice
        logger = TensorBoardLogger(str(tmp_path))
        logger.load_state_dict(position)
        if position is None:
            logger.log({"a": 1.0}, 10)
            logger.log({"a": 2.0, "b": 3.0}, 20)
            logger.log({"c": 4.0}, 20)
            position = json.loads(json.dumps(logger.state_dict()))
        logger.log({"final": 5.0}, 20)
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    points = {name: [(point.step, point.value) for point in shown.Scalars(name)] for name in ("a", "b", "c", "final")}
    assert points == {"a": [(10, 1.0), (20, 2.0)], "b": [(20, 3.0)], "c": [(20, 4.0)], "final": [(20, 5.0)]}


@pytest.mark.parametrize("state", [None, 20, [-1, []]])
def test_tensorboard_goes_on_from_states_without_points(state: Any, tmp_path: Path) -> None:
    TensorBoardLogger(str(tmp_path)).log({"a": 1.0}, 10)
    logger = TensorBoardLogger(str(tmp_path))
    logger.load_state_dict(state)
    logger.log({"a": 3.0}, 30)
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert [point.step for point in shown.Scalars("a")] == ([10, 30] if state == 20 else [30])


def test_tensorboards_points_are_on_the_disk_as_soon_as_they_are_logged(tmp_path: Path) -> None:
    logger = TensorBoardLogger(str(tmp_path))
    for metrics, env_steps in POINTS:
        logger.log(metrics, env_steps)
        shown = EventAccumulator(str(tmp_path / "tensorboard"))
        shown.Reload()
        assert shown.Scalars("a")[-1].step == env_steps


def test_wandb_goes_on_with_the_same_run_and_its_latest_part_holds_every_point_once(tmp_path: Path) -> None:
    options: dict[str, Any] = {"project": "toy", "entity": None, "group": None, "name": None, "timeout": 5.0}

    def make() -> WandbLogger:
        wandb.teardown()  # every process has a service of its own
        for former in tmp_path.glob("wandb/offline-run-*"):  # named by the second, which two processes never share
            former.rename(former.with_name(f"offline-run-20260101_000000-{former.name[-8:]}"))
        return WandbLogger(str(tmp_path), mode="offline", **options)

    video = tmp_path / "videos" / "best.mp4"
    video.parent.mkdir()
    video.write_bytes(b"moving pictures")
    interrupted(make, video)
    wandb.teardown()  # its service has then written all
    (part,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    (before,) = tmp_path.glob("wandb/interrupted/offline-run-*/*.wandb")
    assert part.name == before.name == f"run-{(tmp_path / 'wandb_run_id.txt').read_text()}.wandb"
    rows = list(history(part))
    assert [row["_step"] for row in rows] == list(range(8))
    shown = rows.pop(3)
    assert (part.parent / "files" / shown["best.path"]).read_bytes() == b"moving pictures"
    assert [(row["a"], row["env_steps"]) for row in rows] == [(m["a"], s) for m, s in POINTS]
    assert rows[6]["only_7"] == 1.0


@pytest.mark.parametrize("path", ["gone.mp4", "../outside.mp4", "link.mp4", "videos", "config.yaml", ""])
def test_a_continued_run_uploads_no_file_but_its_own_videos(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    (folder / "videos").mkdir(parents=True)
    for file in (tmp_path / "outside.mp4", folder / "config.yaml"):
        file.write_bytes(b"a secret")
    (folder / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    options: dict[str, Any] = {"project": "toy", "entity": None, "group": None, "name": None, "timeout": 5.0}
    logger = WandbLogger(str(folder), mode="disabled", **options)
    sent: list[Any] = []
    monkeypatch.setattr(logger.run, "log", lambda point, step: sent.append(point))
    state = [{"best": path, "env_steps": 10.0}]
    logger.load_state_dict(state)  # type: ignore[arg-type]
    assert sent == [{"env_steps": 10.0}]
    assert logger.state_dict() == state
    logger.close()


def test_runs_of_one_process_log_into_caches_of_their_own_where_the_home_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's folder may be moved or removed before the next one begins, and is not made again."""
    options: dict[str, Any] = {"project": "toy", "entity": None, "group": None, "name": None, "timeout": 5.0}
    run = SimpleNamespace(starting_step=0, define_metric=lambda *_, **__: None)
    monkeypatch.setattr(WandbLogger, "_init", lambda *_: run)
    (tmp_path / "home").write_text("")  # no folder can be made in it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_CACHE_DIR", "")  # brought back afterwards
    monkeypatch.delenv("WANDB_CACHE_DIR")
    for name in ("first", "second"):
        WandbLogger(str(tmp_path / name), mode="offline", **options)
        assert os.environ["WANDB_CACHE_DIR"] == str(tmp_path / name / "wandb" / "cache")
        (tmp_path / name).rename(tmp_path / f"{name} moved")
    assert not (tmp_path / "first").exists()


@pytest.mark.parametrize("damaged", [b"", b"\n", b"1a2b", b"../../ab\n", b"\xff\x00" * 4, b"run/with?all#of*them" * 20])
def test_wandb_starts_a_new_run_where_the_file_of_its_id_is_damaged(damaged: bytes, tmp_path: Path) -> None:
    options: dict[str, Any] = {"project": "toy", "entity": None, "group": None, "name": None, "timeout": 5.0}
    file = tmp_path / "wandb_run_id.txt"
    file.write_bytes(damaged)
    ids = []
    for _ in range(2):
        logger = WandbLogger(str(tmp_path), mode="disabled", **options)
        ids.append(logger.run.id)
        logger.close()
    assert ids == [file.read_text()] * 2
    assert re.fullmatch("[0-9a-f]{8}", ids[0])
    assert [path.name for path in tmp_path.glob("wandb_run_id*")] == [file.name]


@pytest.mark.parametrize(
    ("kind", "state", "words"),
    [
        ("csv", 5, "the rows of metrics.jsonl are of type int, not a list"),
        ("csv", [1], "a row of metrics.jsonl is of type int, not an object of numbers"),
        ("csv", ["[1, 2]\n"], "a row of metrics.jsonl is of type list, not an object of numbers"),
        ("csv", ["[" * 50_000], "a row of metrics.jsonl is nested too deeply"),
        ("csv", ['{"a": {}}\n'], "a row of metrics.jsonl has 'a' of type dict, not a number"),
        ("tensorboard", ["4", []], "the latest step of TensorBoard is not a whole number from -1"),
        ("tensorboard", [2**60, []], "the latest step of TensorBoard is not a whole number from -1"),
        ("tensorboard", [40, [["a", "b"]]], "a point of TensorBoard has 'a' of type str, not a number"),
        ("wandb", {"a": 1.0}, "the points of wandb are of type dict, not a list"),
        ("wandb", [5], "a point of wandb is of type int, not an object"),
        ("wandb", [{"a": None}], "a point of wandb has 'a' of type NoneType, not a number"),
    ],
)
def test_a_state_that_no_logger_has_written_is_refused_before_a_file_is(
    kind: str, state: Any, words: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"project": "toy", "entity": None, "group": None, "name": None, "timeout": 5.0}
    logger: Any = {
        "csv": CsvLogger,
        "tensorboard": TensorBoardLogger,
        "wandb": lambda folder: WandbLogger(folder, mode="disabled", **options),
    }[kind](str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=re.escape(words)):
        logger.load_state_dict(state)
    assert sorted(tmp_path.rglob("*")) == before
    logger.close()
