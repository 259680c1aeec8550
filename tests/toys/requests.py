"""Requests of eval.py with the values of conf/eval.yaml, of which a test changes some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dsrl.run.request import Request
from toys.commands import CONF


def options_of(**options: Any) -> dict[str, Any]:
    """Return the options of conf/eval.yaml as plain values, some of them changed."""
    defaults = yaml.safe_load((CONF / "eval.yaml").read_text())
    return {**{key: value for key, value in defaults.items() if key not in ("defaults", "hydra")}, **options}


def request_of(folder: Path, **options: Any) -> Request:
    """Return the request for one run folder."""
    return Request(**options_of(**{"run": str(folder), "checkpoint": "best", **options}))
