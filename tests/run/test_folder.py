"""Checkpoints are whole or absent; metrics can be read back."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from toys.runs import Killed

from dsrl.logging.csv import CsvLogger
from dsrl.run.saved import checkpoint
from dsrl.run.saved.folder import RunFolder
from dsrl.run.saved.folder_checks import check_entries
from dsrl.run.terminal.errors import UserError

STATE: dict[str, Any] = {
    "weights": torch.arange(6.0).reshape(2, 3),
    "optimisers": [{"state": {0: {"step": torch.tensor(3)}}, "betas": (0.9, 0.999)}],
    "note": None,
}


def test_a_checkpoint_gives_back_what_was_saved(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save("best", STATE)
    loaded = folder.load("best")
    assert torch.equal(loaded["weights"], STATE["weights"])
    assert loaded["optimisers"][0]["betas"] == (0.9, 0.999)
    assert loaded["optimisers"][0]["state"][0]["step"] == 3
    assert loaded["note"] is None


def test_saving_again_replaces_the_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save("last", STATE)
    folder.save("last", {"weights": torch.zeros(1)})
    assert torch.equal(folder.load("last")["weights"], torch.zeros(1))
    assert len(list(folder.checkpoint("last").iterdir())) == 3


def test_a_save_that_is_cut_short_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.save("last", STATE)

    def full_disk(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "write_json", full_disk)
    with pytest.raises(OSError, match="no space"):
        folder.save("last", {"weights": torch.zeros(1)})
    assert torch.equal(folder.load("last")["weights"], STATE["weights"])


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save("best", STATE)
    (weights,) = folder.checkpoint("best").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        folder.load("best")


def test_weights_of_an_older_run_still_load(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save("best", STATE)
    manifest = folder.checkpoint("best") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text())["files"]))  # format 1: file -> digest
    assert torch.equal(folder.load("best")["weights"], STATE["weights"])


def test_a_config_that_was_changed_after_training_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_configs({"config.yaml": "seed: 0\n"})
    folder.save("best", STATE)
    folder.load("best")
    folder.config.write_text("seed: 1\n")
    with pytest.raises(ValueError, match="was changed after checkpoint=best was trained with it"):
        folder.load("best")
    folder.config.unlink()
    folder.load("best")  # the copy in .hydra is the same
    (folder.hydra / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(ValueError, match=r"\.hydra/config\.yaml was changed after checkpoint=best was trained with it"):
        folder.load("best")


@pytest.mark.parametrize("done", range(6))
def test_a_kill_while_the_config_is_replaced_leaves_weights_that_load(
    done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are replaced in six steps: the notes of both weights, both configs, and the notes again."""
    folder, steps = RunFolder(tmp_path), iter(range(done))
    folder.write_configs({"config.yaml": "decisions: 1\n"})
    for name in ("best", "last"):
        folder.save(name, STATE)

    def fatal(source: Path, target: Path) -> None:
        if next(steps, None) is None:
            raise Killed
        source.rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fatal)
        with pytest.raises(Killed):
            folder.write_configs({"config.yaml": "decisions: 2\n"})
    for name in ("best", "last"):
        folder.load(name)
    folder.write_configs({"config.yaml": "decisions: 3\n"})  # extended again, by another budget
    for name in ("best", "last"):
        folder.load(name)
    for text in ("decisions: 1\n", "decisions: 2\n", "decisions: 4\n"):
        folder.config.write_text(text)
        with pytest.raises(ValueError, match="was changed after checkpoint=best was trained with it"):
            folder.load("best")


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with (
        pytest.raises(UserError, match=r"contains thesis.txt and is not the folder of a run"),
        RunFolder(tmp_path).claimed(),
    ):
        pytest.fail("must not be claimed")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_is_claimed_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    second = pytest.raises(UserError, match=r"is in use by process \d+ on")
    with folder.claimed(), second, RunFolder(folder.path).claimed():
        pytest.fail("must not be claimed twice")
    with folder.claimed():
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_as_the_reason(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    words = r"does not support locks \(.+\); name a folder on another disk as hydra\.run\.dir$"
    with pytest.raises(UserError, match=words), RunFolder(tmp_path / "run").claimed():
        pytest.fail("must not be claimed")


@pytest.mark.parametrize("run", ["run", "wandb"])
@pytest.mark.parametrize("name", ["summary.json", "metrics.csv", "checkpoints", "resume", ".hydra", "deep/er"])
def test_links_that_leave_the_folder_are_refused(name: str, run: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    folder = RunFolder(tmp_path / run)
    (folder.path / "deep").mkdir(parents=True)
    (folder.hydra / "config.yaml").parent.mkdir(exist_ok=name != ".hydra")
    (folder.hydra / "config.yaml").write_text("seed: 0\n")
    if name == ".hydra":
        shutil.move(folder.hydra, tmp_path / "outside" / "hydra")
        folder.hydra.symlink_to(tmp_path / "outside" / "hydra")
    else:
        (folder.path / name).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link that leads out of the run's folder"), folder.claimed():
        pytest.fail("must not be claimed")


@pytest.mark.parametrize("where", ["wandb", "eval/0/wandb", "0/wandb"])
def test_links_that_wandb_makes_below_its_own_folder_are_left_to_it(where: str, tmp_path: Path) -> None:
    (tmp_path / where / "run-1" / "files").mkdir(parents=True)
    (tmp_path / where / "run-1" / "files" / "media").symlink_to("/somewhere/cache")
    check_entries(tmp_path)


def test_a_missing_checkpoint_says_what_there_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save("last", STATE)
    with pytest.raises(FileNotFoundError, match=r"checkpoint=best is not in .*; it has last"):
        folder.load("best")


def test_metrics_files_hold_every_row_and_gain_columns(tmp_path: Path) -> None:
    CsvLogger(str(tmp_path)).log({"a": 1.0}, 10)
    again = CsvLogger(str(tmp_path))  # a second process continues
    again.log({"b": 2.0}, 20)
    again.log({"a": 3.0}, 30)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["env_steps"], row["a"], row["b"]) for row in rows] == [
        ("10.0", "1.0", ""),
        ("20.0", "", "2.0"),
        ("30.0", "3.0", ""),
    ]
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[1]) == {"env_steps": 20.0, "b": 2.0}
