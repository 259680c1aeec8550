"""Options of a plugin's classes as people write them: dataclasses, bases and annotations by any kind of import."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
from annotated_types import Gt

from dsrl.run.config import signatures
from dsrl.run.config.allow_list import check_targets

Reads = Callable[[str], dict[str, signatures.Option]]
TYPES = """
from typing import Annotated
from annotated_types import Gt
Share = Annotated[float, Gt(0)]
class Base:
    def __init__(self, num: int, *, share: Share = 0.5) -> None: ...
"""


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Reads:
    """Return a function that reads, once, the options of the class X in a source of a package beside TYPES."""
    name = f"plug_{abs(hash(request.node.name))}"  # of its own: a module is read once in a process
    (tmp_path / name / "task").mkdir(parents=True)
    for file in ("__init__.py", "task/__init__.py"):
        (tmp_path / name / file).touch()
    (tmp_path / name / "task" / "types.py").write_text(TYPES)
    monkeypatch.syspath_prepend(str(tmp_path))

    def options(source: str) -> dict[str, signatures.Option]:
        (tmp_path / name / "task" / "mine.py").write_text(source.replace("PLUG", name))
        return signatures.options(f"{name}.task.mine.X")

    return options


BASES = [
    "from PLUG.task.types import Base\nclass X(Base): ...",
    "from PLUG.task.types import Base as Other\nclass X(Other): ...",
    "from .types import Base as Other\nclass X(Other): ...",
    "import PLUG.task.types as t\nclass X(t.Base): ...",
    "import PLUG.task.types\nclass X(PLUG.task.types.Base): ...",
    "from PLUG.task import types\nclass X(types.Base): ...",
    "from PLUG.task import types as t\nclass Between(t.Base): ...\nclass X(Between): ...",
    "from typing import Generic, Protocol, TypeVar\nfrom abc import ABC\nimport torch.nn as nn\n"
    "from PLUG.task.types import Base\nT = TypeVar('T')\nclass X(ABC, nn.Module, Generic[T], Base): ...",
]


@pytest.mark.parametrize("source", BASES)
def test_the_options_of_a_base_are_read_however_it_is_imported(source: str, read: Reads) -> None:
    found = read(source)
    assert {name: (one.type(), one.required) for name, one in found.items()} == {
        "num": (int, True),
        "share": (Annotated[float, Gt(0)], False),
    }


@pytest.mark.parametrize("source", ["from dsrl.task.gym import GymTask as Base", "import dsrl.task.gym as g\nBase = 0"])
def test_a_base_of_dsrl_is_read_by_another_name_too(source: str, read: Reads) -> None:
    base = "g.GymTask" if "as g" in source else "Base"
    assert read(f"{source}\nclass X({base}): ...").keys() == signatures.options("dsrl.task.gym.GymTask").keys()


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("class X(Base):\n    def __init__(self, m: int, *args, **kw): ...", "__init__"),
        ("class Between(Base):\n    def __init__(self, m: int, **kw): ...\nclass X(Between): ...", "__init__"),
        ("def X(m: int, **kw: int): ...", "X"),
        ("class X(Base):\n    def __init__(self, m: int): ...", None),
        ("from typing import TypedDict, Unpack\nclass K(TypedDict):\n    m: int\ndef X(**kw: Unpack[K]): ...", None),
    ],
)
def test_what_passes_arguments_on_is_named_where_an_option_is_missing(
    source: str, named: str | None, read: Reads
) -> None:
    target = f"{read(f'from PLUG.task.types import Base{chr(10)}{source}')['m'].module}.X"
    with pytest.raises(ValueError, match=r"task\.num is no option; .*X takes m") as refused:
        check_targets({"_target_": target, "num": 3}, "task", "task", plugins=[target.partition(".")[0]])
    _, more, advice = str(refused.value).partition(", and *args and **kwargs are not read: ")
    assert advice == (f"write the arguments of its base out in {named}" if more else "")
    assert bool(more) == (named is not None)


ANNOTATIONS = [
    "from typing import Annotated as A\nfrom annotated_types import Gt as More\nANNOTATION = A[float, More(0)]",
    "import typing as t\nimport annotated_types as at\nANNOTATION = t.Annotated[float, at.Gt(0)]",
    "import typing, annotated_types\nANNOTATION = typing.Annotated[float, annotated_types.Gt(0)]",
    "from typing_extensions import Annotated\nfrom annotated_types import Gt\nANNOTATION = Annotated[float, Gt(0)]",
    "from PLUG.task.types import Share as Part\nANNOTATION = Part",
    "import PLUG.task.types as t\nANNOTATION = t.Share",
    "from PLUG.task import types\nANNOTATION = types.Share",
]


@pytest.mark.parametrize("source", ANNOTATIONS)
def test_an_annotation_is_read_however_its_names_are_imported(source: str, read: Reads) -> None:
    imports, _, annotation = source.partition("\nANNOTATION = ")
    found = read(f"{imports}\nclass X:\n    def __init__(self, n: {annotation}) -> None: ...")
    assert found["n"].type() == Annotated[float, Gt(0)]


def test_the_fields_of_a_dataclass_are_its_options(read: Reads) -> None:
    found = read(
        "import dataclasses as d\nfrom dataclasses import dataclass, field\nimport typing as t\n"
        "@d.dataclass\nclass Base:\n    first: int\n    names: list[str] = d.field(default_factory=list)\n"
        "@dataclass(frozen=True)\nclass X(Base):\n    share: t.Annotated[float, 1] = 0.5\n    _: d.KW_ONLY\n"
        "    needed: str = field(repr=False)\n    kind: d.InitVar[int] = 3\n"
        "    shared: t.ClassVar[int] = 3\n    made: int = field(init=False)\n    plain = 3\n"
    )
    assert {name: one.type() for name, one in found.items()} == {
        "first": int,
        "names": list[str],
        "share": typing.Annotated[float, 1],
        "needed": str,
        "kind": int,
    }
    assert [name for name, one in found.items() if one.required] == ["first", "needed"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class X(Data): ...", "n"),
        ("@dataclass\nclass X(Data):\n    m: int\n    def __init__(self, k: int) -> None: ...", "k"),
    ],
)
def test_fields_are_inherited_and_a_written_init_replaces_them(source: str, expected: str, read: Reads) -> None:
    data = "from dataclasses import dataclass\n@dataclass\nclass Data:\n    n: int\n"
    assert list(read(data + source)) == [expected]


@pytest.mark.parametrize(
    ("source", "base"),
    [
        ("from elsewhere import Theirs\nclass X(Theirs): ...", "Theirs"),
        ("import elsewhere as e\nclass X(e.Theirs): ...", "e.Theirs"),
        ("class X(made()): ...", "made()"),
        ("from elsewhere import D\nfrom dataclasses import dataclass\n@dataclass\nclass X(D):\n    n: int", "D"),
    ],
)
def test_a_base_that_is_not_read_is_one_sentence_with_what_to_write(source: str, base: str, read: Reads) -> None:
    with pytest.raises(ValueError, match=r"task\.mine\.X inherits from ") as refused:
        read(source)
    assert str(refused.value).partition(" inherits ")[2] == (
        f"from {base}, whose options are not read; write __init__ with annotated arguments in X"
    )


@pytest.mark.parametrize(
    "source",
    [
        "class X: ...",
        "class X(object): ...",
        "from typing import Protocol as P\nclass X(P): ...",
        "from torch import nn\nclass X(nn.Module): ...",
        "from dsrl.interfaces import Task\nclass X(Task): ...",
    ],
)
def test_a_class_without_any_init_takes_none(source: str, read: Reads) -> None:
    assert read(source) == {}
