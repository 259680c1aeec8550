"""Interrupts small real runs as a cluster would; each must end with the results of an undisturbed run.

    python -m scripts.crash_test                       all trials; ten minutes on two cores
    python -m scripts.crash_test --kills 40 --seed 1   more kills, at other moments
    python -m scripts.crash_test --kills 0             the other trials alone

One run is undisturbed. The others, of the same command, are killed (SIGKILL) repeatedly: while they start, at a random
moment, and while they write a checkpoint; their newest checkpoint is truncated, or one bit of it flipped; their disk is
full (a small tmpfs, which only root may mount), or their wandb server does not answer. Each resumes by the same command
and is compared: summary, all metrics besides times, weights, and the newest checkpoint, which contains replay,
optimisers and random states. The exit code is 1 if anything differs or is not reported in one line.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.options import Parser, seed, whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all trials, print one table, and exit with 1 if a result was lost."""
    parser = Parser(prog="python -m scripts.crash_test", description=__doc__)
    parser.add_argument("--kills", type=whole(0, 10_000), default=20, help="SIGKILLs of one run (default 20)")
    parser.add_argument("--seed", type=seed, default=0, help="of the moments (default 0)")
    options = parser.parse_args(arguments)
    raise SystemExit(1 if _run(options.kills, options.seed) else 0)


def _run(kills: int, seed: int) -> bool:
    """Return whether a result was lost."""
    from rich.console import Console
    from rich.table import Table

    from scripts.crash_test.runs import Run, load_libraries
    from scripts.crash_test.trials import attempt, trials

    folder, console = Path(tempfile.mkdtemp(prefix="crash_test-")), Console(soft_wrap=True)
    begin = time.monotonic()
    undisturbed = Run(folder / "undisturbed")
    if undisturbed.finish():
        raise SystemExit(f"error: the undisturbed run failed; see {undisturbed.output}")
    load_libraries()
    console.print(f"undisturbed run: {time.monotonic() - begin:.0f} s; all runs are in {folder}")
    table = Table("trial", "observed", "result", "time")
    lost = False
    for number, (name, trial) in enumerate(trials(kills, undisturbed.interval(), random.Random(seed)).items()):
        begin = time.monotonic()
        observed, result = attempt(trial, Run(folder / f"run{number}"), undisturbed)
        lost |= result not in ("identical", "not tried")
        table.add_row(name, observed, result, f"{time.monotonic() - begin:.0f} s")
        console.print(f"{name}: {observed}: {result}", markup=False)
    Console(width=None if console.is_terminal else 80).print(table)
    console.print("identical: summary, metrics, best and last weights, replay, optimisers and random states")
    return lost


if __name__ == "__main__":
    main()
