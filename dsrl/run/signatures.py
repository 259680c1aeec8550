"""Reads the options of a component, and the types and ranges of their values, without importing it.

conf/sac/dsrl_sac.yaml   _target_: dsrl.sac.dsrl_sac.build_dsrl_sac
dsrl/sac/dsrl_sac.py     def build_dsrl_sac(*, gamma: Discount, ...)      a class: the arguments of its __init__
                         def build_dsrl_sac(**options: Unpack[Options])   the keys of a TypedDict and of its bases
dsrl/sac/_options.py     Discount = Annotated[float, Ge(0), Le(1)]        found through the imports of the file

Components of plugins are read in the same way. Importing a component loads torch and often a simulator, which takes
longer than a wrong value should take to show.
"""

from __future__ import annotations

import ast
import collections.abc
import typing
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import annotated_types

from dsrl.run.installed import PACKAGE

BUILTINS = {"int": int, "float": float, "str": str, "bool": bool, "dict": dict, "list": list, "tuple": tuple}


@dataclass(frozen=True)
class Option:
    """An argument of a component as its source declares it."""

    module: str
    annotation: ast.expr
    required: bool

    def type(self) -> Any:
        """Return the type that the value must have, with its range."""
        return _evaluate(self.annotation, self.module)


def options(target: str) -> dict[str, Option]:
    """Read the arguments of the class or function that <package>.<group>.<module>.<name> names.

    Raises:
        LookupError: where that module, or that class or function in it, does not exist.
        ValueError: where an argument has no annotation.
    """
    module, _, name = target.rpartition(".")
    definition = _definitions(module).get(name)
    if isinstance(definition, ast.FunctionDef):
        return _arguments(definition, module)
    if not isinstance(definition, ast.ClassDef):
        raise LookupError(f"{module} defines no {name}")
    for part in definition.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _arguments(part, module)
    for base, home in _bases(definition, module):
        return options(f"{home}.{base}")
    return {}


def constant(module: str, name: str) -> Any:
    """Read the value of a constant of a module of ours."""
    definition = _definitions(module)[name]
    assert isinstance(definition, ast.Assign)
    return _evaluate(definition.value, module)


def _arguments(function: ast.FunctionDef, module: str) -> dict[str, Option]:
    given = function.args
    optional = len(given.args) - len(given.defaults)
    positional = [(argument, place < optional) for place, argument in enumerate(given.args)]
    keyword = [(argument, value is None) for argument, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    found = {}
    for argument, required in positional + keyword:
        if argument.arg != "self":
            if argument.annotation is None:
                raise ValueError(f"{module} gives the option {argument.arg} no type; annotate it, such as n: int")
            found[argument.arg] = Option(module, argument.annotation, required)
    match given.kwarg and given.kwarg.annotation:
        case ast.Subscript(value=ast.Name(id="Unpack"), slice=ast.Name(id=name)):
            found |= _keys(name, module)
    return found


def _keys(name: str, module: str) -> dict[str, Option]:
    """Read the keys of a TypedDict as `module` uses it, all of them required, those of its bases first."""
    home = _home(name, module)
    definition = None if home is None else _definitions(home)[name]
    if home is None or not isinstance(definition, ast.ClassDef):
        raise ValueError(f"{module} unpacks options from {name}; define it as a TypedDict in a file of the package")
    found: dict[str, Option] = {}
    for base, _ in _bases(definition, home):
        found |= _keys(base, home)
    for part in definition.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            found[part.target.id] = Option(home, part.annotation, required=True)
    return found


def _bases(definition: ast.ClassDef, module: str) -> list[tuple[str, str]]:
    """Return those bases of a class whose source is read, each with the module that defines it."""
    named = [base.id for base in definition.bases if isinstance(base, ast.Name)]
    return [(name, home) for name in named if (home := _home(name, module)) is not None]


@cache
def _parsed(module: str) -> ast.Module:
    package, *inner = module.split(".")
    for folder in _folders(package):
        for path in (folder.joinpath(*inner).with_suffix(".py"), folder.joinpath(*inner, "__init__.py")):
            if inner and path.is_file():
                return ast.parse(path.read_text())
    raise LookupError(f"{module} does not exist")


def _folders(package: str) -> list[Path]:
    """Return the folders of a package, none where it is not installed; imports nothing."""
    if package == "dsrl":
        return [PACKAGE]
    spec = find_spec(package)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _definitions(module: str) -> dict[str, ast.stmt]:
    """Return the classes, functions and assignments of a file by name."""
    found: dict[str, ast.stmt] = {}
    for node in _parsed(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def _home(name: str, module: str) -> str | None:
    """Return the module of dsrl or of the same package that defines `name` as `module` uses it, None elsewhere."""
    if name in _definitions(module):
        return module
    for node in ast.walk(_parsed(module)):
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            source = _absolute(node, module)
            return _home(name, source) if source.partition(".")[0] in ("dsrl", module.partition(".")[0]) else None
    return None


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """Return the module that an import names; a relative one, of a plugin, starts from `module`."""
    above = module.split(".")[: -node.level] if node.level else []
    return ".".join([*above, *filter(None, [node.module])])


class _Names(dict[str, Any]):
    """The names that an annotation in `module` may use."""

    def __init__(self, module: str) -> None:
        super().__init__(BUILTINS)
        self._module = module

    def __missing__(self, name: str) -> Any:
        for library in (typing, annotated_types, collections.abc):
            if hasattr(library, name):
                return getattr(library, name)
        home = _home(name, self._module)
        definition = None if home is None else _definitions(home)[name]
        if home is None or not isinstance(definition, ast.Assign):
            raise ValueError(f"{self._module} annotates an option with {name}, which no value of a YAML can be")
        return _evaluate(definition.value, home)


def _evaluate(annotation: ast.expr, module: str) -> Any:
    code = compile(ast.Expression(annotation), module, "eval")
    return eval(code, {"__builtins__": {}}, _Names(module))  # text of ours, never of a config
