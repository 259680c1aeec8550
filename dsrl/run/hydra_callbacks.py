"""A Hydra callback for searches of hyperparameters with Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from dsrl.run import ranges

HPARAMS: Mapping[str, Any] = {
    "study": str,
    "n_trials": Annotated[int, Ge(1)],
    "n_jobs": Annotated[int, Ge(1)],
    "n_startup_trials": Annotated[int, Ge(0)],
    "seed": Annotated[int, Ge(0)] | None,
}


class SweepFolder(Callback):
    """Checks the options of a search and creates its folder, in which the sweeper opens its database."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check and create; Hydra calls this before it builds the sweeper. Ends the program for a wrong value."""
        try:
            for name, declared in HPARAMS.items():
                ranges.check(f"hparams.{name}", config.hparams[name], declared)
        except ValueError as error:
            raise SystemExit(f"error: {error}") from None  # Hydra only warns of other exceptions of a callback
        Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
