"""Metrics as plain files: `metrics.csv` for spreadsheets and `metrics.jsonl` for scripts."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path


class CsvLogger:
    """Files with one row per call of `log`. A new metric adds a column to the CSV; empty cells were not measured."""

    def __init__(self, folder: str) -> None:
        """Write into `folder`, continuing the files found there."""
        self._csv = Path(folder) / "metrics.csv"
        self._jsonl = Path(folder) / "metrics.jsonl"
        self._rows = _whole_rows(self._jsonl)
        self._columns = _columns(self._rows)

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Append a row to both files."""
        row = {"env_steps": float(env_steps), **{name: float(value) for name, value in metrics.items()}}
        self._rows.append(row)
        with self._jsonl.open("a") as file:
            file.write(json.dumps(row) + "\n")
        new = [name for name in row if name not in self._columns]
        self._columns += new
        if new or not self._csv.exists():
            self._rewrite()
        else:
            with self._csv.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """Do nothing: the video is in the run folder already."""

    def state_dict(self) -> list[dict[str, float]]:
        """Return all rows: they are few, and a checkpoint with them needs no files."""
        return list(self._rows)

    def load_state_dict(self, state: list[dict[str, float]] | None) -> None:
        """Replace the rows of both files by those of `state`."""
        self._rows = list(state or ())
        self._columns = _columns(self._rows)
        if self._rows:
            partial = self._jsonl.with_suffix(".jsonl.partial")
            partial.write_text("".join(json.dumps(row) + "\n" for row in self._rows))
            os.replace(partial, self._jsonl)
            self._rewrite()
        else:
            self._jsonl.unlink(missing_ok=True)
            self._csv.unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: every row is on disk already."""

    def _rewrite(self) -> None:
        partial = self._csv.with_suffix(".csv.partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)
        os.replace(partial, self._csv)


def _columns(rows: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _whole_rows(jsonl: Path) -> list[dict[str, float]]:
    """Return the rows of a file, without a last line that a kill cut short."""
    lines = jsonl.read_text().splitlines(keepends=True) if jsonl.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
