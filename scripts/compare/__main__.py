"""Compares runs of train.py and writes tables, plots and a report.

    python -m scripts.compare 'multirun/2026-01-31/12-00-00'      # folders or quoted globs, any number of them
    python -m scripts.compare --by-task 'multirun/…'              # of experiment=suite: a row for each task

Runs are grouped by the differences between their configs, apart from the seed, and by the contents of policy and
recorded data. Writes report.html (opens offline), comparison.png, comparison.md and comparison.json into `compare/`
below the folder that contains all the runs. With --by-task, where tasks need no measure in common, by_task.md and
by_task.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dsrl.run.saved.files import atomic_write, write_json
from dsrl.run.terminal.standard_output import lasting_output
from scripts._options import Parser, out_folder
from scripts.compare import tables
from scripts.compare.markdown import literal
from scripts.compare.methods import Comparison, group, named
from scripts.compare.run_files import one_line
from scripts.compare.runs import Run, gather
from scripts.compare.tables import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparison and write its files."""
    with lasting_output():  # the files are written also behind `| head`
        _compare(_options(arguments))


def _compare(options: argparse.Namespace) -> None:
    try:
        runs = gather(options.runs)
        found = named(runs) if options.by_task else group(runs, options.measure)
    except ValueError as error:
        sys.exit(f"error: {one_line(str(error), 2000)}")
    out = options.out or _common_folder(runs) / "compare"
    if options.out is None and out.is_symlink():  # of a sweep that somebody sent
        sys.exit(f"error: {one_line(str(out))} is a link that may lead elsewhere; remove it, or name a folder by --out")
    title = one_line(options.title or "") or f"Comparison of {len(runs)} run{'s' * (len(runs) != 1)}"
    try:
        written = _whole(found, out, title) if isinstance(found, Comparison) else _by_task(*found, out, title)
    except OSError as error:
        sys.exit(f"error: {error.filename or out} cannot be written ({error.strerror}); name another folder by --out")
    for name in written:
        print(one_line(str(out / name), 4096))


def _whole(comparison: Comparison, out: Path, title: str) -> tuple[str, ...]:
    """Print a comparison and write its files; returns their names."""
    pairs = tables.improvements(comparison)  # once: of many methods it takes the longest
    found = _main_tables(comparison, pairs)
    _print(found, tables.warnings(comparison))
    _write(comparison, found, pairs, out, title)
    return "report.html", "comparison.png", "comparison.md", "comparison.json"


def _by_task(names: dict[Any, tuple[str, str]], runs: Sequence[Run], out: Path, title: str) -> tuple[str, ...]:
    """Print the table of tasks and the runs that it leaves out, and write them; returns the names of the files."""
    from scripts.compare.by_task import by_task, results

    numbers = results(runs, names)
    found = [table for table in (by_task(numbers), tables.missing(runs, names)) if table is not None]
    _print(found)
    out.mkdir(parents=True, exist_ok=True)
    text = f"# {literal(title)}\n\n" + "\n".join(table.markdown() for table in found)
    atomic_write(out / "by_task.md", text.encode())
    content = {"title": title, "tables": [asdict(table) for table in found], "numbers": list(map(asdict, numbers))}
    write_json(out / "by_task.json", content)
    return "by_task.md", "by_task.json"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.compare", description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of runs or above them; quoted globs work too")
    parser.add_argument("--out", type=out_folder, help="folder for the files")
    parser.add_argument("--title", help="title of the report")
    parser.add_argument("--by-task", action="store_true", help="a row for each task, in units of its own")
    parser.add_argument("--measure", choices=["success_rate", "mean_return"],
                        help="score to compare (default success_rate where every task defines success)")  # fmt: skip
    return parser.parse_args(arguments)


def _print(found: Sequence[Table], warnings: Sequence[str] = ()) -> None:
    """Print tables and warnings; off a terminal on 80 columns, or as many more as the words of a table need."""
    from rich.console import Console

    room = None if sys.stdout.isatty() else 80
    console = Console(width=room and 100 * room, highlight=False)  # each table has a width of its own
    for table in found:
        console.print(tables.rich_table(table, room))
    for warning in warnings:
        console.print(f"note: {warning}", markup=False, width=room)


def _main_tables(comparison: Comparison, pairs: Table | None) -> list[Table]:
    found = (
        tables.scores(comparison),
        tables.learning(comparison, "env_steps"),
        tables.learning(comparison, "wall_time_s"),
        pairs,
        tables.missing(comparison.runs, comparison.names),
    )
    return [table for table in found if table is not None]


def _common_folder(runs: Sequence[Run]) -> Path:
    paths = [os.path.abspath(run.path) for run in runs]
    return Path(paths[0]).parent if len(paths) == 1 else Path(os.path.commonpath(paths))


def _write(comparison: Comparison, found: Sequence[Table], pairs: Table | None, out: Path, title: str) -> None:
    from scripts.compare import page, plots

    out.mkdir(parents=True, exist_ok=True)
    page.write(comparison, pairs, out / "report.html", title)
    plots.png(comparison, out / "comparison.png")
    more = (tables.config_differences(comparison), tables.all_runs(comparison), tables.environments(comparison))
    every = [*found, *(table for table in more if table is not None)]
    notes = "".join(f"- {literal(warning)}\n" for warning in tables.warnings(comparison))
    text = f"# {literal(title)}\n\n{notes}\n" + "\n".join(table.markdown() for table in every)
    atomic_write(out / "comparison.md", text.encode())
    write_json(out / "comparison.json", {"title": title, "tables": [asdict(table) for table in every]})


if __name__ == "__main__":
    main()
