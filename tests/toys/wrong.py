"""Texts that are no value of a declared type and range."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le


def wrong(declared: Any) -> Iterator[str]:
    """Yield texts that are no value of the declared type and range."""
    alternatives = get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)
    kinds = {get_args(one)[0] if get_origin(one) is Annotated else one for one in alternatives}
    if kinds <= {int, float, type(None)} or any(get_origin(one) is Literal for one in alternatives):
        yield "nonsense"
    if kinds & {int, float, bool} or any(get_origin(one) is Literal for one in alternatives):
        yield from ("[1,2]", "'\"\"'")
    if float in kinds:
        yield from ("nan", "inf", "-.inf")
    if int in kinds:
        yield "1.5"
    if kinds & {int, float}:
        yield "true"
    if bool in kinds:
        yield from ("1", "perhaps")
    if type(None) not in kinds and not any("Mapping" in str(one) for one in alternatives):
        yield "null"
    for one in alternatives:
        for bound in one.__metadata__ if get_origin(one) is Annotated else ():
            match bound:
                case Ge(ge=low):
                    yield str(low - 1)
                case Gt(gt=low):
                    yield from (str(low), str(low - 1))
                case Le(le=high):
                    yield str(high + 1)
