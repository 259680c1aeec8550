"""Checks the typed values of a sweep and ranges of a search, one key at a time, before the first run starts.

    seed=0,1,a                 every value has the type of its key
    sac.tau=interval(0.1,0.5)  so have both ends of an interval
    seed=range(0,0)            there is a value
    utd=2 utd=choice(1,4)      a search draws a key or is given its value

Each run checks the values together, and in a sweep over choices of a group all options: their types depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig

from dsrl.run.config import signatures
from dsrl.run.config.settings import CHECKPOINT_TYPES, GROUPS, TYPES, references
from dsrl.run.terminal import choices, ranges

MOST = 10_000  # values of a range that are checked


def check_swept(cfg: DictConfig, overrides: Sequence[str], *, search: bool) -> None:
    """Check the typed ranges for a config of train.py or eval.py; of the latter, that there are values.

    Raises ValueError, naming the key.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = [one for one in parsed if one.is_sweep_override()]
    if search:
        _check_apart(parsed)
    groups = {*choices.groups(), *GROUPS}
    whole = not any(one.key_or_group in groups for one in swept)
    for one in swept:
        if one.key_or_group in groups or one.is_hydra_override() or isinstance(one.value(), Glob):
            continue
        values = list(_values(one, search=search))
        if not values:
            raise ValueError(f"{one.input_line} names no value; type one or more")
        declared = _declared(cfg, one.key_or_group, components=whole) if "sac" in cfg else Any
        for value in values:
            ranges.check(one.key_or_group, value, declared)


def _check_apart(parsed: Sequence[Override]) -> None:
    """Raise ValueError for a key with a range and a value, of which a search would take the value in either order."""
    kinds: dict[tuple[str, bool], Any] = {}
    for one in (one for one in parsed if not one.is_delete()):
        key, drawn = one.key_or_group, one.is_sweep_override()
        kinds[key, drawn] = one.input_line
        other = kinds.get((key, not drawn))
        if other is not None:
            raise ValueError(f"{other} and {one.input_line} are both typed, a value and a range; leave one of them out")


def _values(one: Override, *, search: bool) -> Iterator[Any]:
    """Yield the values of a sweep, of an interval its ends. Raises ValueError for limits that cannot work."""
    sweep: Any = one.value()
    if one.is_interval_sweep():
        if not sweep.start <= sweep.end:
            raise ValueError(f"{one.input_line} ends below its start; type the smaller number first")
        if "log" in sweep.tags and not sweep.start > 0:
            raise ValueError(f"{one.input_line} has no logarithm at its start; start above 0, or leave out log")
        yield from (sweep.start, sweep.end)
    elif one.is_range_sweep():
        if sweep.step == 0 or (search and sweep.step < 0):
            works = "one above 0" if search else "another one"
            raise ValueError(f"{one.input_line} has a step of {sweep.step}; type {works}")
        if search:  # which includes the end
            count = math.floor((sweep.stop - sweep.start) / sweep.step)
            yield from (sweep.start, sweep.start + count * sweep.step) if count >= 0 else ()
        else:
            yield from islice(sweep.range(), MOST)
    else:
        parser = OverridesParser.create()
        yield from (parser.parse_override(f"{one.key_or_group}={text}").value() for text in one.sweep_string_iterator())


def _declared(cfg: DictConfig, key: str, *, components: bool) -> Any:
    """Return the declared type of a key, also of one that only `components` refer to; Any where none is found."""
    found = {**TYPES, **CHECKPOINT_TYPES}.get(key)
    if found is not None or not components:
        return Any if found is None else found
    referring = {other: own for group in GROUPS for own, other in references(cfg, group)}
    group, _, name = referring.get(key, key).rpartition(".")
    with suppress(LookupError, ValueError, AttributeError, TypeError):  # of a group that each run refuses
        return signatures.options(cfg[group]["_target_"])[name].type()
    return Any
