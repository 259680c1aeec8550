"""Finds the configs, and the names of the commands: in a clone beside the package, in a wheel inside it.

clone    train.py   conf/   scripts/   dsrl/        python train.py     python -m scripts.compare
wheel    dsrl/      dsrl/conf/   dsrl/scripts/      dsrl-train          dsrl-compare
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent
IN_CLONE = (ROOT / "conf" / "train.yaml").is_file()
CONF = (ROOT if IN_CLONE else PACKAGE) / "conf"
SCRIPTS = "scripts" if IN_CLONE else "dsrl.scripts"  # for python -m


def typed(script: str) -> str:
    """Return how train.py or eval.py is typed."""
    return f"python {script}" if IN_CLONE else f"dsrl-{script.removesuffix('.py')}"
