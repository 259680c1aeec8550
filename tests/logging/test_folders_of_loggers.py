"""Loggers may write to other folders than the run's: they are made, or refused, before anything is played."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.typed import as_somebody_else, type_train

from dsrl.run.saved.files import make_writable


@pytest.mark.parametrize("name", ["csv", "tensorboard"])
def test_a_folder_that_does_not_exist_is_made(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert type_train(tmp_path / "run", "logging=tensorboard", f"logging.{name}.folder={folder}") is None
    assert {path.name for path in folder.iterdir()} == (
        {"metrics.csv", "metrics.jsonl"} if name == "csv" else {"tensorboard"}
    )


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "folder"
    ending = type_train(tmp_path / "run", "logging=csv", f"logging.csv.folder={folder}")
    assert ending == f"error: logging.csv.folder={folder} cannot be used (Not a directory); name another folder"
    assert "building the simulation" not in capsys.readouterr().out


def test_a_folder_of_somebody_else_is_refused() -> None:
    with as_somebody_else(), pytest.raises(ValueError, match=r"^logging.csv.folder=/usr cannot be used \(Permission"):
        make_writable(Path("/usr"), "logging.csv.folder")
