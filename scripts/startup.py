"""Measures the time of `python train.py --help` relative to the help of an empty Hydra app, in turns.

python -m scripts.startup --pairs 7
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dsrl.run.terminal.installed import IN_CLONE
from scripts._options import Parser, whole

ROOT = Path(__file__).resolve().parent.parent
EMPTY_APP = """import hydra


@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    pass


main()
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the medians of both times and of their ratio."""
    parser = Parser(prog="python -m scripts.startup", description=__doc__)
    parser.add_argument("--pairs", type=whole(1, 1000), default=7, help="measurements of each (default 7)")
    pairs = parser.parse_args(arguments).pairs
    if not IN_CLONE:
        parser.error("this times train.py of a clone, which an installed package lacks; run it in a clone")
    with tempfile.TemporaryDirectory() as folder:
        empty_app = Path(folder) / "app.py"
        empty_app.write_text(EMPTY_APP, encoding="utf-8")
        for script in (ROOT / "train.py", empty_app):
            _seconds(script)  # uncounted: the first start reads files from the disk
        times = [(_seconds(ROOT / "train.py"), _seconds(empty_app)) for _ in range(pairs)]
    ours, empty = (statistics.median(one) for one in zip(*times, strict=True))
    ratios = [our / other for our, other in times]
    print(
        f"train.py --help {ours:.2f} s, an empty Hydra app {empty:.2f} s: {statistics.median(ratios):.2f} × "
        f"({min(ratios):.2f} … {max(ratios):.2f}) over {pairs} pairs"
    )


def _seconds(script: Path) -> float:
    begin = time.monotonic()
    subprocess.run([sys.executable, str(script), "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


if __name__ == "__main__":
    main()
