"""Hydra callbacks that check a sweep before anything is submitted or written to its folder.

Hydra calls them before it builds the sweeper, and only logs their exceptions: each ends the program with one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from dsrl.run import ranges, signatures
from dsrl.run.folder_checks import check_entries, check_hard_links

HPARAMS: Mapping[str, Any] = {
    "study": str,
    "n_trials": Annotated[int, Ge(1)],
    "n_jobs": Annotated[int, Ge(1)],
    "n_startup_trials": Annotated[int, Ge(0)],
    "seed": Annotated[int, Ge(0)] | None,
}


class SweepFolder(Callback):
    """Refuses a sweep's folder that leads elsewhere: Hydra and Optuna write through links."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the folder where it exists."""
        sweep = Path(str(config.hydra.sweep.dir))
        try:
            if sweep.exists() and not sweep.is_dir():
                raise ValueError(f"hydra.sweep.dir={sweep} is a file; name a folder")
            check_entries(sweep)
            check_hard_links(sweep, ("multirun.yaml", "study.db"))
            if (sweep / "multirun.yaml").is_dir():
                raise ValueError(f"{sweep / 'multirun.yaml'} is a folder where a sweep has a file; remove it")
        except ValueError as error:
            raise SystemExit(f"error: {error}") from None


class ClusterOptions(Callback):
    """Checks the options of a cluster before anything is submitted: jobs check all others when they start."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the values with the types and ranges that the launcher declares."""
        cluster: Any = OmegaConf.to_container(config.cluster, resolve=True)
        try:
            for name, option in signatures.options(cluster["_target_"]).items():
                ranges.check(f"cluster.{name}", cluster[name], option.type())
        except ValueError as error:
            raise SystemExit(f"error: {error}") from None


class SearchFolder(Callback):
    """Checks the options of a search and creates its folder, in which the sweeper opens its database."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check and create."""
        sweep = Path(str(config.hydra.sweep.dir))
        try:
            for name, declared in HPARAMS.items():
                ranges.check(f"hparams.{name}", config.hparams[name], declared)
            sweep.mkdir(parents=True, exist_ok=True)
        except ValueError as error:
            raise SystemExit(f"error: {error}") from None
        except OSError as error:
            raise SystemExit(f"error: hydra.sweep.dir={sweep} cannot be used ({error.strerror})") from None
