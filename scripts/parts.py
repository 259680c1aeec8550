"""What `train.py` with some overrides would build, for scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CONF = Path(__file__).resolve().parent.parent / "conf"


def build_parts(overrides: Sequence[str], announce: Callable[[str], None] = print) -> Any:
    """The `Parts` of `python train.py` with `overrides`; starts no simulation.

    Raises UserError or HydraException for what cannot work.
    """
    from hydra import compose, initialize_config_dir

    from dsrl.run.build import build

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["logging=none", *overrides])
    return build(cfg, announce)
