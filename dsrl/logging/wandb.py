"""Metrics, results and videos on Weights & Biases, online, offline or not at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import wandb
from annotated_types import Gt
from wandb.env import CACHE_DIR, get_cache_dir

from dsrl.logging import Description
from dsrl.logging._restored import check_list, check_point

Mode = Literal["online", "offline", "disabled"]
Point = dict[str, float | str]  # numbers, and videos by their paths from the run's folder
LONGEST = 128  # characters of a name that wandb takes
_OWN_CACHES: set[str] = set()  # that this process has put in the place of the user's


class WandbLogger:
    """A wandb run whose x-axis is `env_steps`. Without a server it continues offline and prints that once."""

    def __init__(
        self,
        folder: str,
        project: str,
        entity: str | None,
        group: str | None,
        name: str | None,
        mode: Mode,
        timeout: Annotated[float, Gt(0)],
        tags: Sequence[str] | None = None,  # configs of earlier runs lack it
        described: Description | None = None,
    ) -> None:
        """Start the run, or continue the one that was started for `folder` before.

        `timeout` is in seconds. `described` gives config, and name, group and tags where these are None. Raises
        ValueError for an unknown mode.
        """
        if mode not in ("online", "offline", "disabled"):
            raise ValueError(f"logging.wandb.mode={mode} must be online, offline or disabled")
        Path(folder).mkdir(parents=True, exist_ok=True)
        if mode != "disabled":
            _make_cache(Path(folder) / "wandb" / "cache")
        self._folder = folder
        self._identity: dict[str, Any] = {"project": project, "entity": entity}
        self._identity |= _described(described, group=group, name=name, tags=tags)
        self._identity |= {"id": _run_id(Path(folder) / "wandb_run_id.txt"), "resume": "allow"}
        self._timeout, self._gone = timeout, False
        self.run = self._start(mode)
        self._points: list[Point] = []
        self._num_uploaded = int(self.run.starting_step)  # points that the server has
        self.run.define_metric("env_steps")
        self.run.define_metric("*", step_metric="env_steps")

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Add one point to the curve of every metric."""
        point: Point = {**{name: float(value) for name, value in metrics.items()}, "env_steps": float(env_steps)}
        self._points.append(point)
        self._send(point)

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """Upload an mp4; offline, copy it to wandb's folder."""
        self._points.append({name: os.path.relpath(path, self._folder), "env_steps": float(env_steps)})
        self._send({name: wandb.Video(str(path), format="mp4"), "env_steps": env_steps})

    def results(self, values: Mapping[str, Any]) -> None:
        """Set final numbers in the run's summary, the columns of wandb's table of runs."""
        with self._outlived():
            self.run.summary.update(dict(values))

    def state_dict(self) -> list[Point]:
        """Return all points: wandb writes late, so that a kill may lose some that were logged."""
        return list(self._points)

    def load_state_dict(self, state: list[Point] | None) -> None:
        """Continue after the points of `state`; those that the server lacks are sent again, under the same steps.

        So are their videos where the run's folder has the files; a run in another folder leaves them out.
        Offline, this process's part has the whole run from its first point. Parts of previous processes would upload
        points twice: they move to wandb/interrupted, which `wandb sync --sync-all` does not search. Raises ValueError
        for a state that has something else than points.
        """
        check_list("the points of wandb", [] if state is None else state)
        for point in state or ():
            check_point("a point of wandb", point, str)
        self._points = []
        for point in state or ():
            self._points.append(point)
            shown = {name: self._shown(value) if isinstance(value, str) else value for name, value in point.items()}
            self._send({name: value for name, value in shown.items() if value is not None})
        own = Path(self.run.dir).parent
        for part in (Path(self._folder) / "wandb").glob(f"offline-run-*-{self._identity['id']}"):
            if self.run.settings.mode == "offline" and part.resolve() != own.resolve():
                interrupted = part.parent / "interrupted"
                interrupted.mkdir(exist_ok=True)
                part.rename(interrupted / part.name)

    def close(self) -> None:
        """Finish the run."""
        with self._outlived():
            self.run.finish()

    def _send(self, point: Mapping[str, Any]) -> None:
        step = len(self._points) - 1
        if step >= self._num_uploaded:
            with self._outlived():
                self.run.log(dict(point), step=step)

    def _shown(self, path: str) -> wandb.Video | None:
        """Return the video at `path`; None where there is none.

        A checkpoint may come from anybody: no other file is uploaded than an mp4 inside the run's folder.
        """
        folder = Path(self._folder).resolve()
        file = (folder / path).resolve()
        if file.suffix != ".mp4" or not file.is_relative_to(folder) or not file.is_file():
            return None
        return wandb.Video(str(file), format="mp4")

    @contextmanager
    def _outlived(self) -> Iterator[None]:
        """Continue, and print that once, where wandb's own process has ended: SLURM sends SIGTERM to it, too."""
        try:
            yield
        except ConnectionError as error:
            if not self._gone:
                self._gone = True
                print(f"wandb's own process has ended ({error}); the run continues, metrics.csv has every point")

    def _start(self, mode: Mode) -> Any:
        wanted = os.environ.get("WANDB_MODE", "")  # by which wandb itself is switched
        if mode == "online" and wanted in ("offline", "disabled"):
            mode = "offline" if wanted == "offline" else "disabled"
        if mode != "online":
            return self._init(mode)
        try:
            return self._init(mode)
        except (wandb.errors.CommError, wandb.errors.UsageError, TimeoutError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            parts = f"{self._folder}/wandb/offline-run-*"
            print(f"wandb is out of reach ({reason}); logging offline, upload later with: wandb sync {parts}")
            wandb.teardown()
            return self._init("offline")

    def _init(self, mode: Mode) -> Any:
        settings = wandb.Settings(init_timeout=self._timeout, silent=mode == "offline")
        return wandb.init(dir=self._folder, mode=mode, settings=settings, **self._identity)


def _described(described: Description | None, **given: Any) -> dict[str, Any]:
    """Return the arguments of `wandb.init` that describe the run; those that are given win."""
    if described is None:
        return given
    found = {"group": described.group, "name": described.name[:LONGEST], "tags": list(described.tags)}
    found |= {key: value for key, value in given.items() if value is not None}
    return {**found, "config": dict(described.config), "job_type": described.kind}


def _make_cache(instead: Path) -> None:
    """Make the folder into which wandb's own process logs; use `instead` where the user's home cannot be written.

    Without any, that process prints its log among our lines. A folder that an earlier run of this process chose
    is not used again: that run may have been moved.
    """
    if os.environ.get(CACHE_DIR) in _OWN_CACHES:
        del os.environ[CACHE_DIR]
    folder = get_cache_dir()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        os.environ[CACHE_DIR] = str(instead.resolve())
        _OWN_CACHES.add(os.environ[CACHE_DIR])


def _run_id(file: Path) -> str:
    """Return the id of the folder's wandb run, drawn once, and anew where the file has none that was drawn here.

    The file is complete or absent, also after a crash.
    """
    found = file.read_bytes().strip() if file.is_file() else b""
    if re.fullmatch(rb"[0-9a-f]{8}", found):
        return found.decode()
    drawn = secrets.token_hex(4)
    partial = file.with_name(f"{file.name}.{drawn}.partial")
    partial.write_text(drawn, encoding="utf-8")
    os.replace(partial, file)
    return drawn
