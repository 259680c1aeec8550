"""Watches Genesis compile its kernels: which of them a scene needs, whether this machine has them, and how far it is.

Genesis compiles about 30 functions when a scene is built first and caches them by file. A build writes the list of the
files that it used beside them (`dsrl_<scene>.json`), so that the next one can check that all of them are still there.

    folder/python_side_cache/*.cache.txt          two per kernel, written when it is compiled, touched when it is loaded
    folder/kernel_compilation_manager/T*.qdc      its machine code, written when the process ends
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

FILES = 51  # that a scene of simple_pick writes, before a build has counted them
EVERY = 15.0  # s between two lines of progress
ESTIMATE = "compiles kernels first, once per kind of processor: 1-2 minutes of one core"


def kernel_folder() -> Path:
    """Return the folder of compiled kernels, whether or not it exists."""
    folder = os.environ.get("QD_OFFLINE_CACHE_FILE_PATH")
    return Path(folder) if folder else Path.home() / ".cache" / "quadrants" / "qdcache"


def scene_name(*options: object) -> str:
    """Name a kind of scene by the options that select its kernels, the versions that compile them, and the processor.

    Kernels of another processor are compiled again, as where the machines of a cluster share a home folder.
    """
    makers = [version("genesis-world"), version("quadrants"), processor()]
    return hashlib.sha256(json.dumps([*makers, *map(str, options)]).encode()).hexdigest()[:16]


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model and the instructions of this machine's processor, or its family where Linux tells neither."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    told = dict(line.split("\t", 1) for line in reversed(lines) if line.startswith(("model name\t", "flags\t")))
    return "".join(told.values()) or platform.machine()


def are_compiled(scene: str) -> bool:
    """Whether every kernel that a former build of this kind of scene used is still in the folder."""
    try:
        used = json.loads(_list_of(scene).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return all((kernel_folder() / name).is_file() for name in used)


@contextmanager
def watched(scene: str, announce: Callable[[str], None]) -> Iterator[None]:
    """Print the progress of a build that compiles, and write the list of the kernels that it used at its end."""
    if are_compiled(scene):
        yield
        return
    begin, ended = time.time(), threading.Event()
    reporter = threading.Thread(target=report, args=(begin, ended.wait, announce), daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()
    _write_list(scene, begin)


def report(begin: float, ended: Callable[[float], bool], announce: Callable[[str], None]) -> None:
    """Print the share of compiled kernels since `begin` every `EVERY` seconds until `ended(seconds)` returns True."""
    started = time.monotonic()  # `begin` is compared with the times of files
    while not ended(EVERY):
        done = min(1.0, len(_touched(begin)) / FILES)
        announce(f"compiled {done:.0%} of the kernels after {time.monotonic() - started:.0f} s")


def _touched(begin: float) -> list[Path]:
    """List the entries of kernels that were written or read since `begin`."""
    found = (kernel_folder() / "python_side_cache").glob("*.cache.txt")
    return [entry for entry in found if entry.stat().st_mtime >= begin - 1]


def _write_list(scene: str, begin: float) -> None:
    used = []
    for entry in _touched(begin):
        used.append(f"python_side_cache/{entry.name}")
        code = json.loads(entry.read_text(encoding="utf-8")).get("frontend_cache_key")
        if code:
            used.append(f"kernel_compilation_manager/{code}.qdc")
    if used:
        draft = kernel_folder() / f"dsrl_{scene}.{os.getpid()}.tmp"
        draft.write_text(json.dumps(sorted(used)), encoding="utf-8")
        draft.replace(_list_of(scene))


def _list_of(scene: str) -> Path:
    return kernel_folder() / f"dsrl_{scene}.json"
