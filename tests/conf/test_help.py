"""The pages of --help repeat conf/: its groups, and of every option the first clause of its YAML comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from toys.commands import CONF
from toys.in_process import start

from dsrl.run.terminal import choices

OPTION = re.compile(r"^  (\S+(?:, \S+)*)  +(\S.*?)$")
IN_HYDRA = {"hydra.run.dir": "folder of the run"}


def _page(name: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the lines of a help page's groups, and its options with their words."""
    template = yaml.safe_load((CONF / "hydra" / "help" / f"{name}.yaml").read_text())["template"]
    groups, options, section = [], [], ""
    for line in template.splitlines():
        section = line if line.startswith("==") else section
        if section.startswith("== Groups") and line.startswith("      "):  # a long list goes on
            groups[-1] += f" {line.strip()}"
        elif section.startswith("== Groups") and line.startswith("  "):
            groups.append(line.strip())
        if section.startswith("== Options") and line.startswith("  "):
            found = OPTION.match(line)
            assert found, line
            options.append((found[1], found[2]))
    return groups, options


def _clauses(key: str, name: str) -> Iterator[str]:
    """Yield the first clauses of the comments that the YAMLs write beside a key."""
    if key in IN_HYDRA:
        yield IN_HYDRA[key]
    group, _, option = key.rpartition(".")
    files = (CONF / group).glob("*.yaml") if group else [CONF / f"{name}.yaml"]
    for file in files:
        for comment in re.findall(rf"^\s*{option}: .*?  # (.*)$", file.read_text(), re.MULTILINE):
            yield comment.partition(";")[0]


@pytest.mark.parametrize(
    ("name", "key", "words"), [(name, *one) for name in ("train", "eval") for one in _page(name)[1]]
)
def test_help_says_of_an_option_what_its_yaml_says(name: str, key: str, words: str) -> None:
    assert words in set(_clauses(key, name))


def test_help_lists_all_groups_and_choices() -> None:
    groups, _ = _page("train")
    assert groups == [f"{group}: {', '.join(choices.names(group))}" for group in choices.groups()]


def test_help_of_eval_lists_all_options() -> None:
    options = yaml.safe_load((CONF / "eval.yaml").read_text())
    assert [key for key, _ in _page("eval")[1]] == [key for key in options if key not in ("defaults", "hydra")]


def test_help_of_train_lists_all_options_without_a_group() -> None:
    listed = [key for key, _ in _page("train")[1] if "." not in key]
    options = yaml.safe_load((CONF / "train.yaml").read_text())
    assert listed == [key for key in options if key not in ("defaults", "hydra")]


@pytest.mark.parametrize("script", ["train.py", "eval.py"])
def test_help_shows_no_shared_file_and_fits_a_wide_terminal(
    script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not start(script, "--help", cwd=tmp_path)
    page = capsys.readouterr().out
    assert "== Options" in page
    assert not re.search(r"\b_[a-z]", page)
    assert max(map(len, page.splitlines())) <= 120
