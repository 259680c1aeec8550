"""Finds what a glob on a command line matches, and apart from it the folders that links lead to elsewhere.

Whoever types a name means what it leads to; what a link in somebody's sweep leads to was typed by nobody.
"""

from __future__ import annotations

import glob
import os
from itertools import takewhile
from pathlib import Path


def matches(pattern: str) -> tuple[list[str], list[str]]:
    """Return the sorted matches of a glob, and apart from them those that are links to folders out of its fixed part.

    The fixed part is the folders in front of the first wildcard: multirun/sweep of multirun/sweep/*.
    """
    fixed = takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    top = os.path.realpath(Path(*fixed))
    inside: list[str] = []
    outside: list[str] = []
    for match in sorted(glob.glob(pattern)):
        if Path(os.path.realpath(match)).is_relative_to(top):
            inside.append(match)
        elif os.path.isdir(match):
            outside.append(match)
    return inside, outside
