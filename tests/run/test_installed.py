"""Commands in messages: those of a clone, and in a wheel those that it installs."""

from __future__ import annotations

import tomllib

import pytest
from toys.commands import ROOT

from dsrl.run.terminal import installed
from dsrl.run.terminal.errors import sentence

IN_A_WHEEL = [
    ("python -m scripts.preflight measures it", "dsrl-preflight measures it"),
    ("python train.py --help lists both", "dsrl-train --help lists both"),
    ("export one: python -m scripts.export", "export one: dsrl-export"),
    ("the folder of a run of train.py", "the folder of a run of dsrl-train"),
    ("`python -m scripts.pretrain` wrote it.", "`python -m dsrl.scripts.pretrain` wrote it."),
    ("python -m scripts.official.compare.", "python -m dsrl.scripts.official.compare."),
    ("run=my/train.py does not exist", "run=my/train.py does not exist"),
    ("constrain.py and eval.pyc", "constrain.py and eval.pyc"),
]


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "IN_CLONE", False)
    monkeypatch.setattr(installed, "SCRIPTS", "dsrl.scripts")


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize(("text", "expected"), IN_A_WHEEL)
def test_a_message_of_a_wheel_names_commands_that_a_wheel_has(text: str, expected: str) -> None:
    assert installed.as_typed(text) == expected
    assert sentence(ValueError(text)) == expected


@pytest.mark.parametrize("text", [text for text, _ in IN_A_WHEEL])
def test_a_message_of_a_clone_stays_as_it_is(text: str) -> None:
    assert installed.as_typed(text) == text


def test_commands_are_typed_in_a_clone_by_their_files() -> None:
    assert installed.typed("eval.py") == "python eval.py"
    assert installed.typed("preflight") == "python -m scripts.preflight"


@pytest.mark.usefixtures("wheel")
def test_commands_are_typed_in_a_wheel_by_their_names() -> None:
    assert installed.typed("eval.py") == "dsrl-eval"
    assert installed.typed("preflight") == "dsrl-preflight"
    assert installed.typed("pretrain") == "python -m dsrl.scripts.pretrain"


def test_the_names_are_those_that_a_wheel_installs() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {f"dsrl-{name}" for name in installed.COMMANDS} == {*scripts}
