"""Text files are UTF-8 and messages are shown in every locale: clusters and containers often have none with UTF-8."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.commands import ASCII, ROOT, SHORT_PENDULUM

FOLDERS = ("dsrl", "scripts", "hydra_plugins")
PATHS = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
OTHER_OPENERS = {"os", "av", "Image"}  # modules whose `open` takes no encoding
LATIN = {"PYTHONIOENCODING": "latin-1"}


def _without_encoding(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of calls that read or write text as the locale has it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(one.arg == "encoding" for one in node.keywords):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        of = called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
        given = (*node.args, *(one.value for one in node.keywords if one.arg == "mode"))
        binary = any(isinstance(one, ast.Constant) and one.value in ("rb", "wb", "ab") for one in given)
        if name in ("read_text", "write_text") or (name == "open" and of not in OTHER_OPENERS and not binary):
            yield node.lineno


@pytest.mark.parametrize("path", PATHS, ids=[path.relative_to(ROOT).as_posix() for path in PATHS])
def test_text_is_read_and_written_in_an_encoding_that_the_code_names(path: Path) -> None:
    assert list(_without_encoding(ast.parse(path.read_text(encoding="utf-8")))) == []


def _type(*command: str, locale: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **locale}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, encoding="latin-1", timeout=500
    )


@pytest.mark.parametrize("locale", [ASCII, LATIN])
def test_a_refused_command_is_one_sentence_in_every_locale(locale: dict[str, str]) -> None:
    done = _type("train.py", *SHORT_PENDULUM, "gamma=3", locale=locale)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: gamma=3 must be between 0 and 1")


@pytest.mark.parametrize("command", [("train.py", "--help"), ("-m", "scripts.compare", "--help")])
def test_a_help_page_is_shown_in_every_locale(command: tuple[str, ...]) -> None:
    done = _type(*command, locale=ASCII)
    assert (done.returncode, done.stderr) == (0, "")
