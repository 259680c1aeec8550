"""Folders whose names have characters of Hydra's grammar, of shells and of globs: what is printed can be typed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from toys.requests import options_of
from toys.run_folders import write_run
from toys.typed import type_eval

from dsrl.run.config.request import requests
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.installed import typed_option
from dsrl.run.terminal.typed_words import unreadable
from scripts.compare.runs import gather

NAMES = [
    "seed=0,utd=2",
    "é, (1) [x]",
    "run[1]",
    "a b",
    "a, b",
    "it's",
    'the "best"',
    "back\\slash\\",
    "both\\\" and '",
    "{a: 1}",
    "1_000",
    "null",
    "NaN",
    "sweep.2",
    "#1 $HOME ~",
    "every*",
]


def _typed(words: str) -> dict[str, Any]:
    """Key -> value of what a shell and Hydra read from a command line; nothing in it may be a sweep."""
    overrides = OverridesParser.create().parse_overrides(shlex.split(words))
    assert not any(one.is_sweep_override() for one in overrides)
    return {one.key_or_group: one.value() for one in overrides}


@pytest.mark.parametrize("name", NAMES)
def test_the_printed_options_name_the_very_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    assert _typed(RunFolder(folder).option) == {"hydra.run.dir": str(folder)}
    assert _typed(RunFolder(folder / "0", folder).option) == {"hydra.sweep.dir": str(folder)}
    assert _typed(typed_option("hydra.sweep.dir", name)) == {"hydra.sweep.dir": name}
    printed = _typed(RunFolder(folder, plugins=["my_robot", "other"]).eval_option)
    assert printed == {"run": str(folder), "plugins": ["my_robot", "other"]}


@pytest.mark.parametrize("name", NAMES)
def test_eval_and_compare_take_such_a_name_as_it_is(name: str, tmp_path: Path) -> None:
    write_run(tmp_path / name)
    write_run(tmp_path / "everything")  # that every* would find too
    printed = _typed(RunFolder(tmp_path / name).eval_option)["run"]
    for named in (printed, [printed]):
        assert [request.run for request in requests(options_of(run=named))] == [str(tmp_path / name)]
    assert [run.path for run in gather([str(tmp_path / name)])] == [tmp_path / name]


@pytest.mark.parametrize("name", ["seed=0,utd=2", "é, (1) [x]", "run[1]", 'the "best" of it\'s=1'])
def test_the_advice_for_a_name_without_quotes_leads_to_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    word = f"run={tmp_path / name}"
    assert type_eval(word) == f"error: {unreadable(word)}"
    advised = shlex.split(unreadable(word).rpartition("; type ")[2])
    assert str(type_eval(*advised)).startswith(f"error: run={tmp_path / name} has no .hydra/config.yaml")


def test_a_name_with_commas_is_one_folder_or_else_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [request.run for request in requests(options_of(run="a,b"))] == ["a", "b"]
    (tmp_path / "a,b").mkdir()
    assert [request.run for request in requests(options_of(run="a,b"))] == ["a,b"]


@pytest.mark.parametrize("name", ["sweep", "outputs/2026-01-31/12-00-00", "/tmp/my runs/1"])
def test_a_plain_name_is_shown_without_quotes_of_hydra(name: str) -> None:
    assert shlex.split(typed_option("run", name)) == [f"run={name}"]
