"""Compare runs: `python scripts/compare.py 'multirun/2026-01-31/12-00-00'` (folders or globs, as many as you like).

Runs are grouped by what differs between their configs apart from the seed. Left behind: report.html (opens offline),
comparison.png, comparison.md and comparison.json, in `compare/` below the folder that holds all the runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from dsrl.run.folder import write_json
from scripts.compare import figures, page, tables
from scripts.compare.methods import Comparison, group
from scripts.compare.runs import Run, gather
from scripts.compare.tables import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparison and write it to files; ends with one sentence where there is nothing to compare."""
    options = _options(arguments)
    try:
        runs = gather(options.runs)
        comparison = group(runs, options.measure)
    except ValueError as error:
        sys.exit(f"error: {error}")
    console = Console() if sys.stdout.isatty() else Console(width=160)
    for table in _main_tables(comparison):
        console.print(_rich(table))
    for warning in tables.warnings(comparison):
        console.print(f"note: {warning}", markup=False, highlight=False)
    out = options.out or _common_folder(runs) / "compare"
    _write(comparison, out, options.title or f"Comparison of {len(runs)} runs")
    for name in ("report.html", "comparison.png", "comparison.md", "comparison.json"):
        console.print(str(out / name), markup=False, highlight=False, soft_wrap=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="folders that are or hold runs of train.py; quoted globs work too")
    parser.add_argument("--out", type=Path, help="folder for the files")
    parser.add_argument("--title", help="title of the report")
    measure = "what to compare; by itself, success where every task knows it"
    parser.add_argument("--measure", choices=["success_rate", "mean_return"], help=measure)
    return parser.parse_args(arguments)


def _main_tables(comparison: Comparison) -> list[Table]:
    found = (
        tables.scores(comparison),
        tables.learning(comparison, "env_steps"),
        tables.learning(comparison, "wall_time_s"),
        tables.improvements(comparison),
        tables.missing(comparison),
    )
    return [table for table in found if table is not None]


def _rich(table: Table) -> RichTable:
    rich_table = RichTable(*table.head, title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    for row in table.rows:
        rich_table.add_row(*row)
    return rich_table


def _common_folder(runs: Sequence[Run]) -> Path:
    paths = [os.path.abspath(run.path) for run in runs]
    return Path(paths[0]).parent if len(paths) == 1 else Path(os.path.commonpath(paths))


def _write(comparison: Comparison, out: Path, title: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    page.write(comparison, out / "report.html", title)
    figures.png(comparison, out / "comparison.png")
    more = (tables.config_differences(comparison), tables.all_runs(comparison), tables.environments(comparison))
    every = [*_main_tables(comparison), *(table for table in more if table is not None)]
    notes = "".join(f"- {warning}\n" for warning in tables.warnings(comparison))
    (out / "comparison.md").write_text(f"# {title}\n\n{notes}\n" + "\n".join(table.markdown() for table in every))
    write_json(out / "comparison.json", {"title": title, "tables": [asdict(table) for table in every]})


if __name__ == "__main__":
    main()
