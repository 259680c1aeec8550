"""Records what a block of code opens, starts, connects to and imports outside of the folders that it may use."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.getaddrinfo")
_CHANGES = ("os.rename", "os.symlink", "os.link", "os.chmod", "os.truncate")
_PLACES = (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, Path(__file__).parents[2])
_LIBRARIES = tuple(os.path.realpath(path) for path in (*_PLACES, "/proc", "/sys", "/usr", "/dev/shm"))
_HOOKS = {entry for entry in sys.path if entry.endswith(".__path_hook__")}  # of editable installs: names of no file
_TEMPORARY = tempfile.gettempdir()  # before the hook, inside which finding it would call the hook again
_watch: list[tuple[tuple[str, ...], list[str]]] = []


@contextmanager
def watched(*allowed: Path) -> Iterator[list[str]]:
    """Yield the list of what is done outside of `allowed`, the libraries and new temporary files."""
    seen: list[str] = []
    _watch.append((tuple(os.path.realpath(path) for path in allowed), seen))
    try:
        yield seen
    finally:
        _watch.pop()


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watch:
        return
    allowed, seen = _watch[-1]
    if event in _STARTS or (event == "import" and str(arguments[0]).startswith("planted")):
        seen.append(f"{event} {arguments[0]}")
    elif event in ("open", *_CHANGES) and isinstance(arguments[0], str | bytes):  # not the number of an open file
        path = os.path.abspath(os.fsdecode(arguments[0]))
        temporary = path.startswith(f"{_TEMPORARY}/tmp") or path == _TEMPORARY
        ours = path.startswith((*_LIBRARIES, *allowed, f"{_TEMPORARY}/dsrl_"))
        hook = os.path.basename(path) in _HOOKS and not os.path.lexists(path)  # a search for packages tries each entry
        if not temporary and not ours and not hook:
            seen.append(f"{event} {path}")


sys.addaudithook(_note)
