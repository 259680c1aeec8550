"""Metrics and videos on Weights & Biases, online, offline or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import wandb

Mode = Literal["online", "offline", "disabled"]


class WandbLogger:
    """A wandb run whose x-axis is `env_steps`. Without a server it goes on offline and says so once."""

    def __init__(
        self,
        folder: str,
        project: str,
        entity: str | None,
        group: str | None,
        name: str | None,
        mode: Mode,
        timeout: float,
    ) -> None:
        """Start the run. `timeout` is in seconds; raises ValueError for an unknown mode."""
        if mode not in ("online", "offline", "disabled"):
            raise ValueError(f"logging.wandb.mode is {mode!r}; type online, offline or disabled")
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._identity: dict[str, Any] = {"project": project, "entity": entity, "group": group, "name": name}
        self._timeout = timeout
        self.run = self._start(mode)
        self.run.define_metric("env_steps")
        self.run.define_metric("*", step_metric="env_steps")

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Add one point to the curve of every metric."""
        self.run.log({**metrics, "env_steps": env_steps})

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """Upload an mp4 (kept in the run's own folder when offline)."""
        self.run.log({name: wandb.Video(str(path), format="mp4"), "env_steps": env_steps})

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()

    def _start(self, mode: Mode) -> Any:
        if mode != "online":
            return self._init(mode)
        try:
            return self._init(mode)
        except (wandb.errors.CommError, wandb.errors.UsageError, TimeoutError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(
                f"wandb is out of reach ({reason}); logging offline, upload later with: wandb sync {self._folder}/wandb"
            )
            wandb.teardown()
            return self._init("offline")

    def _init(self, mode: Mode) -> Any:
        settings = wandb.Settings(init_timeout=self._timeout, silent=mode == "offline")
        return wandb.init(dir=self._folder, mode=mode, settings=settings, **self._identity)
