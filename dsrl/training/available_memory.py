"""The memory that this process can still take."""

from __future__ import annotations

import os
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
IN_GROUPS = (  # limit, use, statistics, and their entry for file pages that the kernel gives up when memory is short
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),  # version 2
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def available_memory(groups: Path = CONTROL_GROUPS) -> int:
    """Return the bytes that this process can still take: those that the system has free, within its control group.

    `groups` is the folder of the kernel's control groups, of version 1 or 2. Cached files count as free, as the kernel
    drops them when memory is needed.
    """
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":") for line in meminfo.read_text(encoding="utf-8").splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    else:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit, used, stat, cached in IN_GROUPS:
        if (groups / limit).is_file() and (groups / used).is_file() and _text(groups / limit) != "max":
            left = int(_text(groups / limit)) - int(_text(groups / used))
            free = min(free, left + _statistic(groups / stat, cached))
    return max(free, 0)


def _statistic(file: Path, name: str) -> int:
    """Return one number of a control group's statistics, 0 where they cannot be read or lack it."""
    if not (file.is_file() and os.access(file, os.R_OK)):
        return 0
    return int(dict(line.split() for line in _text(file).splitlines()).get(name, 0))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()
