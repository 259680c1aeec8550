"""What a search for hyperparameters needs of Hydra besides its Optuna sweeper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepFolder(Callback):
    """Makes the folder of a sweep before the sweeper opens its database in it, which would fail without."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before the sweeper is built."""
        Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
