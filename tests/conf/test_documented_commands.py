"""Every command of train.py and eval.py that README.md, docs/ and the help pages show composes a config.

Commands are read from indented and fenced blocks, from `code` within sentences and from the lines of the help pages:

    python train.py $X sac=dsrl_na seed=0,1 -m      # remark   ->   overrides of each choice of a sweep   ->   compose

The values of a sweep over a key that is no group compose alike: the first of them stands for all.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, RangeSweep
from hydra.types import RunMode
from omegaconf import DictConfig
from toys.commands import CONF, ROOT

from dsrl.run.terminal import choices

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")), *sorted(ROOT.glob("dsrl/assets/*/README.md"))]
PAGES += sorted((CONF / "hydra" / "help").glob("*.yaml"))

COMMAND = re.compile(r"(?:python|uv run(?: python)?) (train|eval)\.py(?![\w/])(.*)")
REMARK = re.compile(r"\s{2,}|\s#|\s*(?:&&|\|)|\)$")  # help pages set their remarks apart with spaces
VARIABLE = re.compile(r"^\s*(?:export )?([A-Z]\w*)=(\S+)", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")


def code_of(page: Path) -> Iterator[str]:
    """Return the lines of a page that are code, those that end in a backslash joined with the next."""
    text = re.sub(r"\s*\\\n\s*", " ", page.read_text())
    if page.suffix == ".yaml":
        yield from text.splitlines()
        return
    for fenced in FENCE.findall(text):
        yield from fenced.splitlines()
    sentences = []
    for line in FENCE.sub("", text).splitlines():
        if line.startswith("    "):
            yield line
        else:
            sentences.append(line)
    for span in SPAN.findall("\n".join(sentences)):
        yield " ".join(span.split())


def commands_of(page: Path) -> Iterator[str]:
    """Return the commands of a page as `train …` and `eval …`, shell variables replaced by their values."""
    lines = list(code_of(page))
    variables = dict(VARIABLE.findall("\n".join(lines)))
    for line in lines:
        found = COMMAND.search(line)
        if found:
            arguments = REMARK.split(found[2], maxsplit=1)[0].strip()
            for name, value in variables.items():
                arguments = arguments.replace(f"${name}", value)
            yield f"{found[1]} {arguments}".strip()


COMMANDS = [
    (page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in dict.fromkeys(commands_of(page))
]


def split(command: str) -> tuple[str, list[str], bool]:
    """Return the config that a command composes, its overrides, and whether it has -m."""
    script, *words = shlex.split(command.replace("…", "x"))
    overrides, flags, words_left = [], [], iter(words)
    for word in words_left:
        if word.startswith("-"):
            flags.append(word)
            if word in ("--cfg", "-c", "--package", "-p"):
                next(words_left)
        elif word != "x":  # an ellipsis: any further overrides
            overrides.append(word)
    return script, overrides, bool({"-m", "--multirun"} & set(flags))


def values_of(override: str) -> list[str]:
    """Return an override once for each value of its sweep, with the start of an interval."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return [override]
    sweep = parsed.value()
    if isinstance(sweep, IntervalSweep | RangeSweep):
        return [f"{parsed.get_key_element()}={sweep.start}"]
    return [f"{parsed.get_key_element()}={value}" for value in parsed.sweep_string_iterator()]


def composed_of(overrides: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield the overrides of each config to compose: all choices of groups with one another, and every other value."""
    swept = [values_of(override) for override in overrides]
    of_groups = [values if values[0].partition("=")[0] in choices.groups() else values[:1] for values in swept]
    yield from product(*of_groups)


@cache
def composed(script: str, overrides: tuple[str, ...]) -> DictConfig:
    """Return the config of a script; pages share many commands, so that each is composed once."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(script, list(overrides), return_hydra_config=True)


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS])
def test_a_documented_command_composes(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "template")  # the package of docs/packages.md
    script, overrides, multirun = split(command)
    for chosen in composed_of(overrides):
        cfg = composed(script, chosen)
    if any(len(values_of(override)) > 1 for override in overrides):
        assert multirun or cfg.hydra.mode == RunMode.MULTIRUN, f"{page}: {command} sweeps, which needs -m"


def test_every_kind_of_page_has_commands() -> None:
    pages = {page for page, _ in COMMANDS}
    assert pages >= {"README.md", "conf/hydra/help/train.yaml", "conf/hydra/help/eval.yaml"}
    assert {command.split()[0] for _, command in COMMANDS} == {"train", "eval"}


def test_commands_are_found_in_blocks_sentences_and_help_pages(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text says `python train.py\nseed=1`, not python train.py seed=2.\n\n"
        "    X=task=pendulum      # a variable\n"
        "    python -m scripts.collect_rollouts && \\\n    python train.py $X seed=0,1 -m      # two runs\n\n"
        "```bash\npython eval.py run='a/*' \\\n  episodes=8\n```\n"
    )
    found = list(commands_of(page))
    assert found == ["eval run='a/*' episodes=8", "train task=pendulum seed=0,1 -m", "train seed=1"]
    assert split(found[1]) == ("train", ["task=pendulum", "seed=0,1"], True)
    assert values_of("seed=0,1") == ["seed=0", "seed=1"]
    assert list(composed_of(["task=hopper,gym", "seed=0,1"])) == [("task=hopper", "seed=0"), ("task=gym", "seed=0")]
    assert values_of("sac.tau=tag(log,interval(0.001,0.1))") == ["sac.tau=0.001"]
