"""Reads the options of a component, and the types and ranges of their values, without importing it.

conf/sac/dsrl_sac.yaml   _target_: dsrl.sac.dsrl_sac.build_dsrl_sac
dsrl/sac/dsrl_sac.py     def build_dsrl_sac(*, gamma: Discount, ...)      a class: the arguments of its __init__
                                                                   a dataclass: its fields
                         def build_dsrl_sac(**options: Unpack[Options])   the keys of a TypedDict and of its bases
dsrl/sac/_options.py     Discount = Annotated[float, Ge(0), Le(1)]        found through the imports of the file

Components of plugins are read in the same way. Importing a component loads torch and often a simulator, which takes
longer than a wrong value should take to show.
"""

from __future__ import annotations

import ast
import builtins
import collections.abc
import typing
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import annotated_types

from dsrl.run.terminal.installed import PACKAGE

BUILTINS = {"int": int, "float": float, "str": str, "bool": bool, "dict": dict, "list": list, "tuple": tuple}
LIBRARIES = {"typing": typing, "annotated_types": annotated_types, "collections.abc": collections.abc}
LIBRARIES |= {"typing_extensions": typing}
NO_OPTIONS = ("torch.nn.Module", "torch.nn.modules.module.Module", "gymnasium.Env")  # bases without any in __init__


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
    declaring, module = _declaring(target)
    if isinstance(declaring, ast.FunctionDef):
        return _arguments(declaring, module)
    return {} if declaring is None else _fields(declaring, module)


def passing_on(target: str) -> str | None:
    """Return the function with *args or **kwargs that `options` reads no further, such as __init__; None without."""
    declaring, module = _declaring(target)
    function = declaring if isinstance(declaring, ast.FunctionDef) else None
    unread = function and (function.args.vararg or (function.args.kwarg and not _unpacked(function.args, module)))
    return function.name if function and unread else None


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
    keys = _unpacked(given, module)
    return found if keys is None else found | _keys(keys, module)


def _unpacked(given: ast.arguments, module: str) -> ast.expr | None:
    """Return what names the keys of **options: Unpack[keys]."""
    word, keys = _unsubscripted((given.kwarg and given.kwarg.annotation) or ast.Name(""))
    return keys if _full_name(word, module).rpartition(".")[2] == "Unpack" else None


def _declaring(target: str) -> tuple[ast.FunctionDef | ast.ClassDef | None, str]:
    """Return what declares the arguments of a target, a function or a dataclass, and its module; None without any."""
    module, _, name = target.rpartition(".")
    definition = _definitions(module).get(name)
    if isinstance(definition, ast.FunctionDef):
        return definition, module
    if not isinstance(definition, ast.ClassDef):
        raise LookupError(f"{module} defines no {name}")
    return _of_class(definition, module) or (None, module)


def _of_class(definition: ast.ClassDef, module: str) -> tuple[ast.FunctionDef | ast.ClassDef, str] | None:
    """Return __init__ of a class, the class itself if it is a dataclass, or that of the first base that has one."""
    for part in definition.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return part, module
    if _is_dataclass(definition, module):
        return definition, module
    found = (_of_class(base, home) for base, home in _bases(definition, module))
    return next(filter(None, found), None)


def _is_dataclass(definition: ast.ClassDef, module: str) -> bool:
    called = [one.func if isinstance(one, ast.Call) else one for one in definition.decorator_list]
    return any(_full_name(one, module) == "dataclasses.dataclass" for one in called)


def _fields(definition: ast.ClassDef, module: str) -> dict[str, Option]:
    """Read the fields of a dataclass that its __init__ takes, those of its bases first."""
    found: dict[str, Option] = {}
    for base, home in reversed(_bases(definition, module)):
        found |= _fields(base, home) if _is_dataclass(base, home) else {}
    for part in definition.body:
        if not isinstance(part, ast.AnnAssign) or not isinstance(part.target, ast.Name):
            continue
        kind, inner = _unsubscripted(part.annotation)
        word = _full_name(kind, module).rpartition(".")[2]
        given = {one.arg: one.value for one in part.value.keywords} if isinstance(part.value, ast.Call) else {}
        is_field = isinstance(part.value, ast.Call) and _full_name(part.value.func, module) == "dataclasses.field"
        left_out = is_field and isinstance(init := given.get("init"), ast.Constant) and init.value is False
        if word not in ("ClassVar", "KW_ONLY") and not left_out:
            required = part.value is None or (is_field and not {"default", "default_factory"} & given.keys())
            annotation = inner if word == "InitVar" and inner is not None else part.annotation
            found[part.target.id] = Option(module, annotation, required)
    return found


def _keys(named: ast.expr, module: str) -> dict[str, Option]:
    """Read the keys of a TypedDict as `module` uses it, all of them required, those of its bases first."""
    place = _place(named, module)
    definition = None if place is None else _definitions(place[0])[place[1]]
    if place is None or not isinstance(definition, ast.ClassDef):
        name = ast.unparse(named)
        raise ValueError(f"{module} unpacks options from {name}; define it as a TypedDict in a file of the package")
    found: dict[str, Option] = {}
    for base in definition.bases:
        found |= {} if _place(base, place[0]) is None else _keys(base, place[0])
    for part in definition.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            found[part.target.id] = Option(place[0], part.annotation, required=True)
    return found


def _bases(definition: ast.ClassDef, module: str) -> list[tuple[ast.ClassDef, str]]:
    """Return the bases of a class, each with the module that defines it, without those that take no options.

    Raises ValueError for a base that is not read: it may take options.
    """
    found = []
    for expression in definition.bases:
        named, _ = _unsubscripted(expression)
        place = _place(named, module)
        base = None if place is None else _definitions(place[0])[place[1]]
        if place is not None and isinstance(base, ast.ClassDef):
            found.append((base, place[0]))
        elif not _takes_none(_full_name(named, module)):
            raise ValueError(
                f"{module}.{definition.name} inherits from {ast.unparse(expression)}, whose options are not read; "
                f"write __init__ with annotated arguments in {definition.name}"
            )
    return found


def _takes_none(base: str) -> bool:
    module, _, name = base.rpartition(".")
    return base in NO_OPTIONS or (hasattr(builtins, name) if not module else module in LIBRARIES or module == "abc")


@cache
def _parsed(module: str) -> ast.Module:
    package, *inner = module.split(".")
    for folder in _folders(package):
        for path in (folder.joinpath(*inner).with_suffix(".py"), folder.joinpath(*inner, "__init__.py")):
            if inner and path.is_file():
                return ast.parse(path.read_text(encoding="utf-8"))
    raise LookupError(f"{module} does not exist")


def _folders(package: str) -> list[Path]:
    """Return the folders of a package, none where it is not installed; imports nothing."""
    if package == "dsrl":
        return [PACKAGE]
    spec = find_spec(package)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


@cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    """Return the classes, functions and assignments of a file by name."""
    found: dict[str, ast.stmt] = {}
    for node in _parsed(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def _place(expression: ast.expr, module: str) -> tuple[str, str] | None:
    """Return where dsrl or the same package defines what `module` means by a name or module.name; None elsewhere."""
    full = _full_name(expression, module)
    home, _, name = full.rpartition(".")
    if not home and name in _definitions(module):
        return module, name
    if home.partition(".")[0] not in ("dsrl", module.partition(".")[0]):
        return None
    return _place(ast.Name(name), home)


def _full_name(expression: ast.expr, module: str) -> str:
    """Return a name or module.name with what the imports of `module` mean by it: g.X -> dsrl.task.gym.X."""
    first, dot, rest = ast.unparse(expression).partition(".")
    imported = None if first in _definitions(module) else _imported(first, module)
    return f"{imported or first}{dot}{rest}"


@cache
def _imported(name: str, module: str) -> str | None:
    """Return the module, or the module.name, that the imports of `module` call `name`; None without one."""
    for node in ast.walk(_parsed(module)):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            if isinstance(node, ast.ImportFrom) and name == (alias.asname or alias.name):
                return f"{_absolute(node, module)}.{alias.name}"
            if isinstance(node, ast.Import) and name == (alias.asname or alias.name.partition(".")[0]):
                return alias.name if alias.asname else name
    return None


def _unsubscripted(expression: ast.expr) -> tuple[ast.expr, ast.expr | None]:
    """Return what stands before the brackets of X[…], and what stands in them."""
    return (expression.value, expression.slice) if isinstance(expression, ast.Subscript) else (expression, None)


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
        full = _full_name(ast.Name(name), self._module)
        if full in LIBRARIES:
            return LIBRARIES[full]
        if _is_module(full, self._module):
            return _Members(full)
        place = _place(ast.Name(name), self._module)
        definition = None if place is None else _definitions(place[0])[place[1]]
        if place is not None and isinstance(definition, ast.Assign):
            return _evaluate(definition.value, place[0])
        for library in LIBRARIES.values():  # also where another library passes their names on
            if hasattr(library, full.rpartition(".")[2]):
                return getattr(library, full.rpartition(".")[2])
        raise ValueError(f"{self._module} annotates an option with {name}, which no value of a YAML can be")


class _Members:
    """A module of dsrl or of the same package, without importing it: its attributes are what annotations may use."""

    def __init__(self, module: str) -> None:
        self._names = _Names(module)

    def __getattr__(self, name: str) -> Any:
        return self._names[name]


def _is_module(full: str, module: str) -> bool:
    if full.partition(".")[0] not in ("dsrl", module.partition(".")[0]):
        return False
    try:
        return bool(_parsed(full))
    except LookupError:
        return False


def _evaluate(annotation: ast.expr, module: str) -> Any:
    code = compile(ast.Expression(annotation), module, "eval")
    return eval(code, {"__builtins__": {}}, _Names(module))  # text of ours, never of a config
