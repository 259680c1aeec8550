"""A tiny whole SmolVLA checkpoint, and harmless planted code that leaves a file behind if it is ever executed."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkpoint(tiny_smolvla: Path) -> Path:
    return tiny_smolvla


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may spoil; being elsewhere, it also shows that checkpoints can be moved."""
    return shutil.copytree(checkpoint, tmp_path / "copy")


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that planted code would create; every test that uses it fails if the file is there at its end.

    The working directory is a new one with the planted module `planted` in it, importable and beside the checkpoint.
    """
    file = tmp_path / "canary"
    (tmp_path / "planted.py").write_text(
        f"from pathlib import Path\nPath({str(file)!r}).touch()\n\nclass Step:\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield file
    assert not file.exists()


@pytest.fixture
def planted(tmp_path: Path, canary: Path) -> Path:
    """A folder whose configurations ask transformers, by `auto_map`, to run the module `planted` in it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(tmp_path / "planted.py", folder)
    classes = {
        f"Auto{kind}": "planted.Step" for kind in ("Config", "Model", "Processor", "ImageProcessor", "VideoProcessor")
    }
    auto_map = {**classes, "AutoTokenizer": ["planted.Step", "planted.Step"]}
    for name in ("config", "processor_config", "preprocessor_config", "tokenizer_config"):
        (folder / f"{name}.json").write_text(json.dumps({"model_type": "planted", "auto_map": auto_map}))
    return folder


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Fail a test that takes more than a gibibyte."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB
