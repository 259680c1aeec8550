"""Fixtures and settings that several test files share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is first imported, here and in the processes that tests start
if sys.dont_write_bytecode:  # as images set it: each of these processes would compile all libraries anew
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of this folder before those of its folders: the slowest are among them, and would come last."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="session")
def tiny_smolvla(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny SmolVLA checkpoint with one camera; tests that change files work on a copy."""
    from toys.tiny_smolvla import make_tiny_checkpoint

    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny_smolvla") / "tiny")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check datasets here, where no process has to start: that a run's have one is shown where datasets crash them."""
    from dsrl.training import offline_data
    from dsrl.training.dataset_files import check_dataset
    from scripts import _lerobot_dataset

    for module in (offline_data, _lerobot_dataset):
        monkeypatch.setattr(module, "check_apart", check_dataset)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Return a function that makes the next run raise Killed right before or after its n-th checkpoint."""
    from toys.runs import Killed

    from dsrl.run.saved.checkpoint import Checkpoints

    save = Checkpoints.save

    def arm(nth: int, when: str) -> None:
        count = iter(range(1, 1000))

        def fatal(self: Checkpoints, number: int, state: Any) -> None:
            last = next(count) == nth
            if last and when == "before":
                raise Killed
            save(self, number, state)
            if last:
                raise Killed

        monkeypatch.setattr(Checkpoints, "save", fatal)

    return arm
