"""Interrupts small real runs as a cluster would; each must end with the results of an undisturbed run.

    python -m scripts.crash_test                       all trials; ten minutes on two cores
    python -m scripts.crash_test --kills 100 --seed 1  more kills, at other moments, spread over several runs
    python -m scripts.crash_test --kills 0             the other trials alone
    python -m scripts.crash_test --task simple_pick_state --kills-only    a Genesis run with a base policy and a video

One run is undisturbed. The others, of the same command, are killed (SIGKILL) repeatedly: while they start, at a random
moment of training, while they write a checkpoint, and after training in the final evaluation, the confirmation, and
while learning curve, video and summary are written; their newest checkpoint is truncated, or one bit of it flipped;
their disk is full (a small tmpfs, which only root may mount), or their wandb server does not answer. Each resumes by
the same command and is compared: summary, all metrics besides times, weights, learning curve, video, and the newest
checkpoint, which contains replay, optimisers and random states. The exit code is 1 if anything differs or is not
reported in one line.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dsrl.run.terminal.installed import IN_CLONE
from dsrl.run.terminal.standard_output import lasting_output
from scripts._options import Parser, seed, whole

if TYPE_CHECKING:
    from rich.console import Console

    from scripts.crash_test.runs import Run
    from scripts.crash_test.trials import Trial

TASKS = ("pendulum", "simple_pick_state")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all trials, print one table, and exit with 1 if a result was lost."""
    parser = Parser(prog="python -m scripts.crash_test", description=__doc__)
    parser.add_argument("--task", choices=TASKS, default="pendulum", help="of the runs (default pendulum)")
    parser.add_argument("--kills", type=whole(0, 10_000), default=20, help="SIGKILLs of all runs (default 20)")
    parser.add_argument("--kills-only", action="store_true", help="leave out the other trials")
    parser.add_argument("--seed", type=seed, default=0, help="of the moments (default 0)")
    options = parser.parse_args(arguments)
    if not IN_CLONE:
        parser.error("this interrupts train.py of a clone, which an installed package lacks; run it in a clone")
    if options.kills_only and not options.kills:
        parser.error("--kills-only with --kills 0 tries nothing; leave one of them out")
    with lasting_output():
        good = _run(options.task, options.kills, options.seed, others=not options.kills_only)
    raise SystemExit(0 if good else 1)


def _run(task: str, kills: int, seed: int, *, others: bool) -> bool:
    """Return whether all results are identical, or not tried."""
    from rich.console import Console

    from scripts.crash_test.runs import Run, load_libraries
    from scripts.crash_test.trials import trials

    folder, console = Path(tempfile.mkdtemp(prefix="crash_test-")), Console(soft_wrap=True)
    begin = time.monotonic()
    undisturbed = Run(folder / "undisturbed", task)
    if undisturbed.finish():
        raise SystemExit(f"error: the undisturbed run failed; see {undisturbed.output}")
    load_libraries(task)
    console.print(f"undisturbed run: {time.monotonic() - begin:.0f} s; all runs are in {folder}")
    results = Results(console, undisturbed)
    if kills:
        _kill(results, kills, random.Random(seed))
    for name, trial in trials().items() if others else ():
        results.add(name, trial, Run(folder / name.replace(" ", "_"), task))
    results.print_table()
    return results.good


def _kill(results: Results, kills: int, rng: random.Random) -> None:
    """Spread the kills over as many runs as they need."""
    from scripts.crash_test.kills import by_place, kill
    from scripts.crash_test.runs import Run

    undisturbed, died = results.undisturbed, Counter[str]()
    interval, number = undisturbed.interval(), 0
    while died.total() < kills:
        number, before = number + 1, died.total()
        part = min(kills - before, undisturbed.small.kills)
        run = Run(undisturbed.folder.with_name(f"killed{number}"), undisturbed.task)
        results.add(f"run {number}, killed", partial(kill, kills=part, interval=interval, rng=rng, total=died), run)
        if died.total() == before:
            break
    results.console.print(f"{died.total()} × SIGKILL: {by_place(died)}")


class Results:
    """The observations and results of all trials."""

    def __init__(self, console: Console, undisturbed: Run) -> None:
        from rich.table import Table

        self.console, self.undisturbed, self.good = console, undisturbed, True
        self._table = Table("trial", "observed", "result", "time")

    def add(self, name: str, trial: Trial, run: Run) -> None:
        """Try, print and note one trial."""
        from scripts.crash_test.trials import attempt

        begin = time.monotonic()
        observed, result = attempt(trial, run, self.undisturbed)
        self.good &= result in ("identical", "not tried")
        self._table.add_row(name, observed, result, f"{time.monotonic() - begin:.0f} s")
        self.console.print(f"{name}: {observed}: {result}", markup=False)

    def print_table(self) -> None:
        """Print all trials."""
        from rich.console import Console

        Console(width=None if self.console.is_terminal else 80).print(self._table)
        self.console.print("identical: summary, metrics, weights, pictures, replay, optimisers and random states")


if __name__ == "__main__":
    main()
