"""Run folders come from others, and a pickle runs code when it is loaded: nothing that reads them may load one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.commands import ROOT

PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "submitit"}
READERS = [ROOT / "eval.py", *sorted((ROOT / "scripts" / "compare").rglob("*.py"))]
READ = [*READERS, *sorted((ROOT / "dsrl").rglob("*.py"))]  # eval.py and compare import no other package of ours


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def _unsafe_calls(tree: ast.AST) -> Iterator[str]:
    """Find calls that load a pickle inside a file of another format."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, keywords = ast.unparse(call.func), {key.arg: ast.unparse(key.value) for key in call.keywords}
        if name == "torch.load" and keywords.get("weights_only") != "True":
            yield "torch.load without weights_only=True"
        if keywords.get("allow_pickle") == "True" or name.endswith(".read_pickle"):
            yield name
        if keywords.get("weights_only") == "False":
            yield name


@pytest.mark.parametrize("path", READ, ids=[path.relative_to(ROOT).as_posix() for path in READ])
def test_what_reads_run_folders_loads_no_pickle(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not set(_imported(tree)) & PICKLES
    assert not list(_unsafe_calls(tree))


@pytest.mark.parametrize("path", READERS, ids=[path.relative_to(ROOT).as_posix() for path in READERS])
def test_eval_and_compare_import_no_code_of_ours_that_is_not_checked_here(path: Path) -> None:
    assert not set(_imported(ast.parse(path.read_text()))) & {"hydra_plugins", "tests", "toys", "train"}


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "numpy.load(path, allow_pickle=True)",
        "pandas.read_pickle(path)",
    ],
)
def test_calls_that_load_a_pickle_are_found(line: str) -> None:
    assert list(_unsafe_calls(ast.parse(line)))
    assert not list(_unsafe_calls(ast.parse("torch.load(path, weights_only=True)")))
