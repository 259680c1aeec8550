"""Finds the config of a run folder."""

from __future__ import annotations

from pathlib import Path

CONFIGS = (Path("checkpoints") / "config.yaml", Path(".hydra") / "config.yaml")
"""The config of a run folder's checkpoints; of a run from before they had one, that which Hydra saved."""


def config_of(folder: Path) -> Path | None:
    """Return the file with the config of a run, None where the folder holds no run."""
    return next((folder / name for name in CONFIGS if (folder / name).is_file()), None)
