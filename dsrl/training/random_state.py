"""The global random generators of a process: torch's, numpy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsrl.interfaces import StateDict

_WORDS = 624  # of the state of MT19937


def seed_everything(seed: int) -> None:
    """Seed every global generator."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def check_position(key: Tensor, position: int) -> None:
    """Raise ValueError for a state of MT19937 that NumPy would read beyond its end: it checks no position."""
    if key.shape != (_WORDS,) or not 0 <= position <= _WORDS:
        raise ValueError(f"a random generator is at position {position} of {list(key.shape)} words, not of {_WORDS}")


def random_state_dict() -> StateDict:
    """Return the state of every global generator."""
    version, words, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    assert isinstance(numpy_state, dict)
    key, position = torch.from_numpy(numpy_state["state"]["key"].copy()), int(numpy_state["state"]["pos"])
    return {
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
        "numpy": [key, position, int(numpy_state["has_gauss"]), float(numpy_state["gauss"])],
        "python": [version, torch.tensor(words), gauss],
    }


def load_random_state_dict(state: Mapping[str, Any]) -> None:
    """Restore every global generator. Raises ValueError for a state that NumPy's generator cannot have."""
    key, position, has_gauss, gauss = state["numpy"]
    check_position(key, position)
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    np.random.set_state(("MT19937", key.numpy(), position, has_gauss, gauss))
    version, words, python_gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), python_gauss))
