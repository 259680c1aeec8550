"""Checkpoints of every lerobot type with changed files: nothing runs, nothing outside is opened, and one sentence each.

Each case changes one place of a whole checkpoint: a value anywhere in one of its JSON files, or a file itself. It may
still load; then it plays a decision.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from toys.mutations import changed
from toys.tiny_diffusion import make_tiny_diffusion
from toys.tiny_dit import make_tiny_dit
from toys.tiny_eo1 import make_tiny_eo1
from toys.tiny_pi import make_tiny_pi, small_sizes
from toys.tiny_smolvla import make_tiny_checkpoint
from toys.watched import watched

from dsrl.interfaces import Observation
from dsrl.policy.lerobot import load_policy

MAKE: dict[str, Callable[[Path], Path]] = {
    "diffusion": make_tiny_diffusion,
    "multi_task_dit": make_tiny_dit,
    "eo1": make_tiny_eo1,
    "pi0": lambda folder: make_tiny_pi(folder, "pi0"),
    "pi05": lambda folder: make_tiny_pi(folder, "pi05"),
    "smolvla": make_tiny_checkpoint,
}
CASES = 24  # changed values of each type
KEYS: dict[str, Any] = {
    "trust_remote_code": True,
    "auto_map": {"AutoConfig": "planted.Step", "AutoTokenizer": ["planted.Step", "planted.Step"]},
    "class": "planted.Step",
    "_target_": "planted.Step",
    "pretrained_path": "../secret",
    "tokenizer_file": "../secret/tokenizer.json",
}


def _play(folder: Path) -> None:
    """Load the policy and play one decision of two worlds."""
    policy = load_policy(str(folder), "cpu", "checkpoint")
    robot = policy.embodiment
    past = () if robot.num_observations == 1 else (robot.num_observations,)
    images = {name: torch.zeros(2, *past, *shape, dtype=torch.uint8) for name, shape in robot.image_shapes.items()}
    encoding = policy.encode(Observation(torch.ones(2, *past, robot.state_dim), images, ("pick up", "put it now")))
    policy.decode(encoding, torch.ones(2, *policy.noise_shape))


def _refusal(folder: Path) -> str | None:
    """Return the sentence that refuses a checkpoint, None where it plays."""
    try:
        _play(folder)
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return None


def _check(folder: Path, case: str) -> None:
    """Load a changed checkpoint; it plays, or ends in one sentence, soon, and touches nothing else."""
    start = time.process_time()
    with watched(folder) as outside:
        sentence = _refusal(folder)
    assert sentence is None or (20 < len(sentence) < 900 and sentence.isprintable()), (case, sentence)
    assert not outside, (case, outside)
    assert time.process_time() - start < 10, case


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for a whole checkpoint of each type, written when a test asks for it."""
    return {kind: tmp_path_factory.mktemp(kind) / "base" for kind in MAKE}


@pytest.fixture(params=MAKE)
def copy(request: pytest.FixtureRequest, bases: dict[str, Path], planted: Path, tmp_path: Path) -> Iterator[Path]:
    """A checkpoint that a test may spoil, in the working directory of planted code."""
    base = bases[request.param]
    if not base.exists():
        MAKE[request.param](base)
        (base / "train_config.json").write_text(json.dumps({"policy": {"path": "/etc"}, "dataset": {"root": "/etc"}}))
    shutil.copytree(planted, tmp_path / "secret")
    with small_sizes() if request.param.startswith("pi") else nullcontext():
        yield Path(shutil.copytree(base, tmp_path / "copy"))


@pytest.mark.usefixtures("little_memory")
def test_a_changed_value_anywhere_is_played_or_refused_in_one_sentence(copy: Path, canary: Path) -> None:
    draw = random.Random(json.loads((copy / "config.json").read_text())["type"])
    files = [path for path in sorted(copy.rglob("*.json")) if path.name != "tokenizer.json"]
    weights = [6 if path.parent == copy else 1 for path in files]
    _check(copy, "unchanged")
    for file in draw.choices(files, weights, k=CASES):
        before = file.read_text()
        content, case = changed(json.loads(before), KEYS, draw)
        file.write_text(json.dumps(content))
        _check(copy, f"{file.relative_to(copy)}: {case}")
        file.write_text(before)


@pytest.mark.usefixtures("little_memory")
def test_links_pipes_and_devices_in_place_of_a_file_are_refused(copy: Path, canary: Path, tmp_path: Path) -> None:
    files = [path for path in sorted(copy.rglob("*")) if path.suffix in (".json", ".safetensors")]
    for number, file in enumerate(files):
        kept = tmp_path / "kept"
        shutil.move(file, kept)
        turn = ("/dev/zero", file.name, "nowhere")[number % 3]
        for target in ("../kept" if number % 2 else str(kept), turn, None):
            if target is None:
                os.mkfifo(file)
            else:
                file.symlink_to(os.path.relpath(kept, file.parent) if target == "../kept" else target)
            _check(copy, f"{file.relative_to(copy)} -> {target}")
            file.unlink()
        shutil.move(kept, file)
