"""How long `python train.py --help` takes, beside an empty Hydra app's own help, in turn.

python -m scripts.startup pairs=7
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BARE = """import hydra


@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    pass


main()
"""


def main(pairs: int) -> None:
    """Time both, one after the other, and print the medians and the ratio pair by pair."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "app.py"
        bare.write_text(BARE)
        for script in (ROOT / "train.py", bare):
            _seconds(script)  # what is read from the disk for the first time counts for neither
        times = [(_seconds(ROOT / "train.py"), _seconds(bare)) for _ in range(pairs)]
    ours, bares = (statistics.median(one) for one in zip(*times, strict=True))
    ratios = [our / empty for our, empty in times]
    print(
        f"train.py --help {ours:.2f} s, an empty Hydra app {bares:.2f} s: {statistics.median(ratios):.2f} × "
        f"({min(ratios):.2f} … {max(ratios):.2f}) over {pairs} pairs"
    )


def _seconds(script: Path) -> float:
    begin = time.monotonic()
    subprocess.run([sys.executable, str(script), "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


if __name__ == "__main__":
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(pairs=int(options.get("pairs", 7)))
