"""Requests of eval.py with the values of conf/eval.yaml, of which a test changes some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from dsrl.run.config.request import Request
from toys.commands import CONF

OF_ALL_RUNS = ("defaults", "hydra", "plugins", "files")  # keys of conf/eval.yaml that are not of one run


def options_of(**options: Any) -> dict[str, Any]:
    """Return the options of conf/eval.yaml as plain values, some of them changed."""
    defaults = yaml.safe_load((CONF / "eval.yaml").read_text())
    return {**{key: value for key, value in defaults.items() if key not in OF_ALL_RUNS}, **options}


def newest_evaluation(run: Path) -> Any:
    """Return the content of the newest eval.json in a run's folder."""
    folders = sorted((run / "eval").iterdir(), key=lambda path: path.stat().st_ctime_ns)
    return json.loads((folders[-1] / "eval.json").read_text())


def request_of(folder: Path, **options: Any) -> Request:
    """Return the request for one run folder."""
    return Request(**options_of(**{"run": str(folder), "checkpoint": "best", **options}))
