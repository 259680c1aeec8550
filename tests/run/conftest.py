"""Runs of train.py, a finished one and one killed halfway, played once for the tests that work on copies of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run of 120 decisions; tests work on copies."""
    from toys.typed import type_train

    folder = tmp_path_factory.mktemp("finished") / "run"
    assert type_train(folder) is None
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="session")
def killed_halfway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the same run, killed after its checkpoint of 80 decisions; tests work on copies."""
    from toys.runs import Killed
    from toys.typed import type_train

    from dsrl.run.saved.checkpoint import Checkpoints

    folder, save = tmp_path_factory.mktemp("halfway") / "run", Checkpoints.save

    def fatal(self: Checkpoints, decisions: int, state: Any) -> None:
        save(self, decisions, state)
        if decisions == 80:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", fatal)
        with pytest.raises(Killed):
            type_train(folder)
    return folder


@pytest.fixture
def halfway(killed_halfway: Path, tmp_path: Path) -> Path:
    """Return a copy of the run that was killed."""
    return Path(shutil.copytree(killed_halfway, tmp_path / "halfway"))
