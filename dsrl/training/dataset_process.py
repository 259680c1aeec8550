"""Checks a dataset in a process of its own: damage may end pyarrow by a signal, or make it take all memory or time."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from dsrl.training.dataset_files import check_dataset

GIB = 1 << 30
MEMORY = 12 * GIB  # of addresses, of which the libraries take 2
SECONDS, BYTES_PER_SECOND = 120, 100_000  # of computing at least, and the slowest decoding of videos
REFUSED = 3  # exit code
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dsrl.training.dataset_process import main; main()"
)


def check_apart(folder: Path, named: str, free: int, pictures: bool = True) -> None:
    """Check the dataset in `folder` as `check_dataset` does, in another process.

    Raises ValueError with one sentence where the check does, and where the process ends by a signal.
    """
    arguments = [json.dumps(sys.path), str(folder), named, str(free), str(pictures)]
    command = [sys.executable, "-P", "-c", START, *arguments]
    utf8 = {**os.environ, "PYTHONIOENCODING": "utf-8:surrogateescape"}  # whatever the locale, a sentence comes whole
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="surrogateescape", env=utf8)
    if done.returncode == REFUSED:
        raise ValueError(done.stdout)
    if done.returncode < 0:
        raise ValueError(
            f"{named} ends the library that reads it by signal {-done.returncode}, or takes more than {MEMORY // GIB} "
            "GiB or its share of time; get the dataset anew"
        )
    if done.returncode:
        raise RuntimeError(f"the check of {named} failed:\n{done.stderr}")


def main() -> None:
    """Check the dataset that the arguments name, in bounded memory and time, and print the sentence that refuses it."""
    folder, named, free, pictures = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5] == str(True)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = SECONDS + stored_bytes(folder) // BYTES_PER_SECOND
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        check_dataset(folder, named, free, pictures)
    except ValueError as error:
        if not str(error).startswith(named):  # a mistake of ours
            raise
        sys.stdout.write(str(error))
        sys.exit(REFUSED)


def stored_bytes(folder: Path) -> int:
    """Return the bytes that the files of a folder take on disk: holes are none."""
    return sum(os.lstat(os.path.join(top, name)).st_blocks * 512 for top, _, names in os.walk(folder) for name in names)
