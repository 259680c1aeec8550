"""Metrics as plain files: `metrics.csv` for spreadsheets and `metrics.jsonl` for scripts."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from dsrl.logging._named import naming
from dsrl.logging._restored import check_list, check_point


class CsvLogger:
    """Files with one row per call of `log`. A new metric adds a column to the CSV; empty cells were not measured."""

    def __init__(self, folder: str) -> None:
        """Write into `folder`.

        Where no state is loaded, the files found there are continued: the first row raises ValueError for damaged ones.
        """
        self._csv = Path(folder) / "metrics.csv"
        self._jsonl = Path(folder) / "metrics.jsonl"

    @cached_property
    def _lines(self) -> list[str]:
        return _whole_lines(self._jsonl)  # text: a tenth of the memory that dicts of numbers take

    @cached_property
    def _columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self._rows() for name in row))

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Append a row to both files."""
        row = {"env_steps": float(env_steps), **{name: float(value) for name, value in metrics.items()}}
        new = [name for name in row if name not in self._columns]
        line = json.dumps(row) + "\n"
        self._lines.append(line)
        with naming(self._jsonl), self._jsonl.open("a", encoding="utf-8") as file:
            file.write(line)
        self._columns += new
        if new or not self._csv.exists():
            self._rewrite()
        else:
            with naming(self._csv), self._csv.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)

    def state_dict(self) -> list[str]:
        """Return all rows as lines of JSON: they are few, and a checkpoint with them needs no files."""
        return list(self._lines)

    def load_state_dict(self, state: list[str] | None) -> None:
        """Replace the rows of both files by those of `state`. Raises ValueError for a state that has others."""
        check_list("the rows of metrics.jsonl", [] if state is None else state)
        rows = [_row(line if isinstance(line, str) else json.dumps(line)) for line in state or ()]
        self._lines = [json.dumps(row) + "\n" for row in rows]
        self._columns = list(dict.fromkeys(name for row in self._rows() for name in row))
        if self._lines:
            partial = self._jsonl.with_suffix(".jsonl.partial")
            partial.unlink(missing_ok=True)  # a link would be written through
            with naming(self._jsonl):
                partial.write_text("".join(self._lines), encoding="utf-8")
            os.replace(partial, self._jsonl)
            self._rewrite()
        else:
            self._jsonl.unlink(missing_ok=True)
            self._csv.unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: every row is on disk already."""

    def _rows(self) -> Iterator[dict[str, float]]:
        return map(json.loads, self._lines)

    def _rewrite(self) -> None:
        partial = self._csv.with_suffix(".csv.partial")
        partial.unlink(missing_ok=True)
        with naming(self._csv), partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows())
        os.replace(partial, self._csv)


def _whole_lines(jsonl: Path) -> list[str]:
    """Return the lines of a file, without a last one that a kill cut short. Raises ValueError for a damaged one."""
    try:
        lines = jsonl.read_text(encoding="utf-8").splitlines(keepends=True) if jsonl.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        for line in whole:
            _row(line)
    except ValueError as error:
        raise ValueError(f"{jsonl} is damaged: a line is no JSON object; remove it") from error
    return whole


def _row(line: str) -> dict[str, float]:
    """Read a line. Raises ValueError for anything but an object of numbers."""
    try:
        row = json.loads(line)
    except RecursionError as error:
        raise ValueError("a row of metrics.jsonl is nested too deeply") from error
    check_point("a row of metrics.jsonl", row)
    return dict(row)
