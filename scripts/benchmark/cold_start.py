"""Times the first start of a scene on a machine: Genesis compiles its kernels into an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from dsrl.run.terminal.installed import SCRIPTS
from scripts.benchmark.paired import table


def report_cold_start(overrides: Sequence[str]) -> None:
    """Print wall and CPU seconds from process start to the first control step, without and with compiled kernels."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("no kernels", "kernels of the run above"):
            command = [sys.executable, "-m", f"{SCRIPTS}.benchmark", "--start", *overrides]
            environment = {**os.environ, "QD_OFFLINE_CACHE_FILE_PATH": folder}
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
            wall, processor = printed.split()[-2:]
            rows.append([name, wall, processor])
    print("first start of a process: imports, scene, one reset and one control step\n")
    print(table(["", "wall s", "CPU s"], rows))


def start(overrides: Sequence[str]) -> None:
    """Start four worlds, make one control step and print wall and CPU seconds of this process."""
    import time

    from scripts.benchmark.rounds import started_parts

    begin = time.time()
    parts = started_parts(overrides, 4)
    parts.task.step(parts.task.hold())
    print(f"{time.time() - begin:.1f} {time.process_time():.1f}")
