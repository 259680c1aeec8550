"""Loading, observing and editing the checkpoints of the tests in this folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toys.tiny_smolvla import IMAGE_SIZE

from dsrl.interfaces import Observation
from dsrl.policy.smolvla import SmolVLA

INSTRUCTIONS = ("pick up the red cube", "put it now", "pick up the green cube and put it in the box now")


def load(folder: Path | str, **arguments: Any) -> SmolVLA:
    return SmolVLA(str(folder), **{"device": "cpu", "dtype": "checkpoint", **arguments})


def observe(policy: SmolVLA, size: tuple[int, int] = (IMAGE_SIZE, IMAGE_SIZE), seed: int = 0) -> Observation:
    """Draw an observation of three different worlds."""
    generator = torch.Generator().manual_seed(seed)
    images = {
        camera: torch.randint(256, (3, 3, *size), generator=generator, dtype=torch.uint8)
        for camera in policy.embodiment.cameras
    }
    return Observation(torch.randn(3, policy.embodiment.state_dim, generator=generator), images, INSTRUCTIONS)


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file; `change` edits its content in place or returns another one."""
    content = json.loads(file.read_text())
    file.write_text(json.dumps(change(content) or content))


def refusal(folder: Path | str, load: Callable[[str], Any] = lambda path: SmolVLA(path, "cpu", "checkpoint")) -> str:
    """Load a policy and return the one sentence that refuses it within ten seconds."""
    start = time.monotonic()
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load(str(folder))
    assert time.monotonic() - start < 10
    sentence = str(caught.value)
    assert caught.type in (ValueError, FileNotFoundError)
    assert "\n" not in sentence
    assert 20 < len(sentence) < 900
    return sentence
