"""Compares values of a config with the types and ranges that are declared for them, and words what must hold.

Annotated[float, Ge(0), Le(1)]  gamma=1.5  ->  gamma=1.5 must be between 0 and 1
Annotated[int, Ge(1)] | None    utd=many   ->  utd=many must be a whole number of at least 1, or null
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml  # type: ignore[import-untyped]
from annotated_types import Ge, Gt, Interval, Le, Lt

from dsrl.run.terminal.installed import typed_option

NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
LONGEST = 60  # characters of a wrong value that a message repeats
MOST_BITS = 10_000  # of a whole number in decimals: Python refuses to write longer ones


def check(key: str, value: Any, declared: Any) -> None:
    """Raise ValueError, naming the key as it is typed, unless `value` is of the declared type and in its range."""
    if fits(value, declared):
        return
    for one in _alternatives(declared):
        if isinstance(value, list) and _is_list(one):
            item = get_args(one)[0]
            wrong = next(entry for entry in value if not fits(entry, item))
            raise ValueError(f"{key}={shown(value)} has {shown(wrong)}, which must be {_words(item)}")
    in_type = [one for one in _alternatives(declared) if fits(value, _bare(one))]
    words = " or ".join(_range(one) for one in in_type) if in_type else _words(declared)
    empty = isinstance(value, str) and not value.strip()
    hint = "" if in_type or empty or not _is_text(declared) else f"; in quotes it is: {typed_option(key, shown(value))}"
    words += ", and not empty" if empty and _is_text(declared) else ""
    raise ValueError(f"{key}={shown(value)} must be {words}{hint}")


def fits(value: Any, declared: Any) -> bool:
    """Return whether a plain value has the declared type and range; an int is also a float, a bool is neither."""
    origin = get_origin(declared)
    if declared is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(declared))
    if origin is Annotated:
        return fits(value, _bare(declared)) and all(_holds(value, bound) for bound in _bounds(declared))
    if origin is Literal:
        return any(_matches(value, one) for one in get_args(declared))
    if declared is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(fits(one, get_args(declared)[1]) for one in value.values())
    if _is_list(declared):
        return isinstance(value, list) and all(fits(one, get_args(declared)[0]) for one in value)
    if declared is str:
        return isinstance(value, str) and bool(value.strip())
    return isinstance(value, type(None) if declared is None else declared)


def shown(value: Any) -> str:
    """Return the start of `written`, which a message repeats."""
    text = written(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def written(value: Any) -> str:
    """Return a value as a command line writes it; text that would be read as something else is quoted."""
    if isinstance(value, str):
        quoted = value.strip() and not isinstance(_as_yaml(value), str)
        text = json.dumps(value, ensure_ascii=False) if quoted else " ".join(value.split())
    elif isinstance(value, int) and value.bit_length() > MOST_BITS:
        text = hex(value)
    elif isinstance(value, list):
        text = f"[{','.join(map(written, value))}]"
    elif value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    else:
        text = " ".join(str(value).split())
    return text


def _as_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _matches(value: Any, literal: Any) -> bool:
    """Compare a value with a literal; in one of text <n> stands for a number without leading zeros."""
    if isinstance(value, str) and isinstance(literal, str):
        return re.fullmatch(re.escape(literal).replace("<n>", r"(0|[1-9][0-9]*)"), value) is not None
    return type(value) is type(literal) and bool(value == literal)


def _bounds(declared: Any) -> list[Any]:
    """Return the bounds of an annotated type, those of an Interval one by one.

    Raises ValueError for what is none of those that `_range` words.
    """
    metadata = declared.__metadata__ if get_origin(declared) is Annotated else ()
    bounds = [bound for one in metadata for bound in (one if isinstance(one, Interval) else (one,))]
    for bound in bounds:
        if not isinstance(bound, Ge | Gt | Le | Lt):
            raise ValueError(f"{bound} of a declared type is not checked here; declare Ge, Gt, Le, Lt or Interval")
    return bounds


def _holds(value: Any, bound: Any) -> bool:
    match bound:
        case Ge(ge=low):
            return bool(value >= low)
        case Gt(gt=low):
            return bool(value > low)
        case Le(le=high):
            return bool(value <= high)
    return bool(value < bound.lt)


def _bare(declared: Any) -> Any:
    """Return a type without its range."""
    return declared.__origin__ if get_origin(declared) is Annotated else declared


def _alternatives(declared: Any) -> list[Any]:
    return list(get_args(declared)) if get_origin(declared) in (Union, types.UnionType) else [declared]


def _is_list(declared: Any) -> bool:
    origin = get_origin(declared)
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _is_text(declared: Any) -> bool:
    return str in _alternatives(declared)


def _words(declared: Any) -> str:
    """Return what a value must be, type and range."""
    return ", or ".join(_word(one) for one in _alternatives(declared))


def _word(declared: Any) -> str:
    origin = get_origin(declared)
    if declared is Any:
        return "value"
    if origin is Literal:
        *others, last = map(str, get_args(declared))
        return f"{', '.join(others)} or {last}" if others else last
    if origin is Annotated:
        joint = " of " if _range(declared).startswith("at ") else " "
        return f"{NAMES[_bare(declared)]}{joint}{_range(declared)}"
    if origin is not None:
        if issubclass(origin, Mapping):
            return f"{{name: {_words(get_args(declared)[1])}}}"
        return f"a list such as [{_example(declared)}]"
    return NAMES[type(None) if declared is None else declared]


def _example(declared: Any) -> str:
    return "text" if _bare(get_args(declared)[0]) is str else "1,2"


def _range(declared: Any) -> str:
    """Return the range of a number; a value that has the type can only miss the range."""
    low, high = None, None
    for bound in _bounds(declared):
        match bound:
            case Ge(ge=value):
                low = f"at least {value}"
            case Gt(gt=value):
                low = f"above {value}"
            case Le(le=value):
                high = f"at most {value}"
            case Lt(lt=value):
                high = f"below {value}"
    if low and high and low.startswith("at least") and high.startswith("at most"):
        return f"between {low.removeprefix('at least ')} and {high.removeprefix('at most ')}"
    return " and ".join(filter(None, (low, high)))
