"""A finished run of train.py, played once, for the tests that work on copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

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
