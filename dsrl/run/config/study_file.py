"""Checks the SQLite file of a study before Optuna writes into it: only the tables and indices of Optuna itself.

A kill while SQLite commits leaves a journal, by which the next to open the file undoes half a write. It may come from
somebody else as well, so that a private copy is undone and checked first:

    study.db, study.db-journal -> copy in a temporary folder -> undone -> checked -> Optuna undoes the original
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

_LARGEST_COPY = 2**30  # bytes; far more than a search has
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")  # the end of a journal of several databases


def check_file(file: Path) -> None:
    """Raise DatabaseError where a file of SQLite has other tables and indices than a study of the installed Optuna.

    An expression in any of them is evaluated at a write, or a read, and may take all memory, disk or time; a view may
    have rows without end. Raises DatabaseError as well for a journal that no search leaves.
    """
    try:
        _check_schema(file, "ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        with tempfile.TemporaryDirectory() as folder:
            _check_schema(_copied(file, Path(folder)), "rw")


def _copied(file: Path, folder: Path) -> Path:
    """Copy a database with its journal. Raises DatabaseError for a journal by which undoing removes another file."""
    journal, copy = file.with_name(f"{file.name}-journal"), folder / "study.db"
    if file.stat().st_size + journal.stat().st_size > _LARGEST_COPY:
        raise sqlite3.DatabaseError(f"with {journal.name} it has more than {_LARGEST_COPY} bytes")
    shutil.copyfile(file, copy)
    shutil.copyfile(journal, folder / "study.db-journal")
    with (folder / "study.db-journal").open("rb") as copied:
        copied.seek(-len(_NAMES_ANOTHER), os.SEEK_END)  # SQLite itself has read a header from it
        if copied.read() == _NAMES_ANOTHER:
            raise sqlite3.DatabaseError(f"{journal.name} names a journal of other databases")
    return copy


def _check_schema(file: Path, mode: str) -> None:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode={mode}", uri=True)) as database:
        for kind, name, text in database.execute("SELECT type, name, sql FROM sqlite_master"):
            if (kind, name, _spaced(text)) not in _optunas():
                raise sqlite3.DatabaseError(f"the {str(kind)[:60]} {str(name)[:60]!r} is none of Optuna's")


@cache
def _optunas() -> frozenset[tuple[str, str, str]]:
    """Return type, name and definition of what a new database of the installed Optuna has."""
    from optuna.storages import RDBStorage

    with closing(RDBStorage("sqlite:///:memory:").engine.raw_connection()) as database:
        cursor = database.cursor()
        cursor.execute("SELECT type, name, sql FROM sqlite_master")
        return frozenset((kind, name, _spaced(text)) for kind, name, text in cursor.fetchall())


def _spaced(text: object) -> str:
    """Return a definition with single spaces, which differ between versions of SQLAlchemy."""
    return " ".join(str(text or "").split())
