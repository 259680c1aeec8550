"""Test files share code by way of tests/toys and tests/conftest.py alone, so that each of them runs on its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PATHS = sorted(TESTS.rglob("*.py"))


@pytest.mark.parametrize("path", PATHS, ids=[path.relative_to(TESTS).as_posix() for path in PATHS])
def test_no_file_imports_a_test_file_or_conftest(path: Path) -> None:
    test_files = {other.stem for other in PATHS if other.stem.startswith("test_")} | {"conftest"}
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            imported |= set((node.module or "").split("."))
    assert not imported & test_files


def test_no_two_test_files_have_the_same_name() -> None:
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
