"""The memory that this process can still take."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")  # a line number:controllers:/path for each hierarchy
IN_GROUPS = {  # controller -> folder; limit, use, and the statistic of file pages that the kernel gives up
    "": ("", "memory.max", "memory.current", "inactive_file"),  # version 2
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory(groups: Path = CONTROL_GROUPS, own: Path = OWN_GROUPS) -> int:
    """Return the bytes that this process can still take: those that the system has free, within its control groups.

    `groups` is the folder of the kernel's control groups, of version 1 or 2, and the file `own` names the group of this
    process: the groups around it, such as that of a SLURM job around its steps, have limits as well. Cached files count
    as free, as the kernel drops them when memory is needed.
    """
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":") for line in meminfo.read_text(encoding="utf-8").splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    else:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    paths = _own_paths(own)
    for controller, (folder, limit, used, cached) in IN_GROUPS.items():
        innermost = PurePosixPath(paths.get(controller, ""))
        for path in (innermost, *innermost.parents):  # in a container, the outer part of a path may be out of sight
            group = groups / folder / path
            if (group / limit).is_file() and (group / used).is_file() and _text(group / limit) != "max":
                left = int(_text(group / limit)) - int(_text(group / used))
                free = min(free, left + _statistic(group / "memory.stat", cached))
    return max(free, 0)


def _own_paths(own: Path) -> dict[str, str]:
    """Return controller -> path below the folder of its hierarchy, "" that of version 2; empty without such a file."""
    lines = _text(own).splitlines() if own.is_file() else []
    parts = [line.split(":", 2) for line in lines]
    return {name: path.lstrip("/") for _, names, path in parts for name in names.split(",")}


def _statistic(file: Path, name: str) -> int:
    """Return one number of a control group's statistics, 0 where they cannot be read or lack it."""
    if not (file.is_file() and os.access(file, os.R_OK)):
        return 0
    return int(dict(line.split() for line in _text(file).splitlines()).get(name, 0))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()
