"""Checks task, policy and noise when they are built: all members of their protocols are there and of the declared kind.

class Policy(Protocol):  noise_shape: tuple[int, int]   <->   noise_shape = (8,)   ->   one sentence
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import torch

from dsrl.interfaces import (
    BoundedActions,
    ChecksTask,
    DrawsUnsteered,
    Filmable,
    HasDevice,
    HasHistory,
    HasWeights,
    Noise,
    ObservesRows,
    Policy,
    Restorable,
    Task,
)
from dsrl.rules.policy_rules import Measured
from dsrl.run.components.few_worlds import FewWorlds
from dsrl.run.components.parts import (
    ChoosesHorizon,
    DenoisesPast,
    HasBackbone,
    HasConfiguration,
    HasFps,
    HasLanguage,
    HasRemarks,
    MeasuresNoise,
)

ABILITIES: Mapping[type, Sequence[type]] = {  # optional ones of objects, in the order of docs/architecture.md
    Task: (Restorable, ObservesRows, Filmable, FewWorlds, BoundedActions, HasFps),
    Policy: (
        HasWeights,
        HasConfiguration,
        HasBackbone,
        Measured,
        ChecksTask,
        HasDevice,
        HasHistory,
        HasRemarks,
        HasLanguage,
        ChoosesHorizon,
        DenoisesPast,
    ),
    Noise: (DrawsUnsteered, MeasuresNoise),
}
_KINDS: Mapping[type, tuple[type, ...]] = {
    int: (Integral,),
    float: (Real,),
    bool: (bool, np.bool_),
    torch.device: (torch.device, str),  # torch takes its name in its place
}


def check_members(part: object, protocol: type) -> None:
    """Raise ValueError for the first member of a protocol of `dsrl.interfaces` that `part` lacks, or has otherwise.

    An ability that is optional is checked in the same way where `part` has any member of it.
    """
    name = f"{protocol.__name__.lower()} {type(part).__name__}"
    _check(part, name, protocol, "add")
    for ability in ABILITIES[protocol]:
        declared = [*get_type_hints(ability), *_methods(ability)]
        has = [one for one in declared if getattr(part, one, None) is not None]
        if has:
            _check(part, name, ability, f"rename {has[0]}, or add")


def _check(part: object, name: str, protocol: type, add: str) -> None:
    of = f"as {protocol.__name__} in {protocol.__module__.replace('.', '/')}.py declares it"
    for member, declared in get_type_hints(protocol).items():
        shown = f"{member}: {protocol.__annotations__[member]}"
        if not hasattr(part, member):
            raise ValueError(f"{name} has no attribute {member}; {add} {shown}, {of}")
        found = getattr(part, member)
        if not _fits(found, declared):
            raise ValueError(f"{name} has {member}={found!r:.100} but it must be {shown}, {of}")
    for method in _methods(protocol):
        if not callable(getattr(part, method, None)):
            raise ValueError(f"{name} has no method {method}; {add} it, {of}")


def _methods(protocol: type) -> list[str]:
    return [key for key, value in vars(protocol).items() if callable(value) and not key.startswith("_")]


def check_digest(policy: Policy) -> None:
    """Raise ValueError for a policy with weights whose digest is no SHA-256 in hexadecimal, or another one each time.

    One that was measured when it was loaded is not read twice: its weights may have gigabytes.
    """
    if not isinstance(policy, HasWeights):
        return
    name, found = f"policy {type(policy).__name__}.policy_sha256 returned", policy.policy_sha256()
    if not isinstance(found, str) or not re.fullmatch("[0-9a-f]{64}", found):
        raise ValueError(
            f"{name} {found!r:.100} but it must be the SHA-256 of the weights as 64 hexadecimal digits; return "
            "hashlib.sha256(…).hexdigest(), and leave the method out where there are no weights"
        )
    if isinstance(policy, Measured) and policy.measured:
        return
    if policy.policy_sha256() != found:
        raise ValueError(f"{name} two digests of the same weights; compute it from the weights alone")


def _fits(value: Any, declared: Any) -> bool:
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is UnionType:
        return any(_fits(value, kind) for kind in arguments)
    if origin is tuple:
        listed = isinstance(value, Sequence | np.ndarray) and len(value) == len(arguments)
        return listed and all(_fits(one, kind) for one, kind in zip(value, arguments, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(one, arguments[1]) for one in value.values())
    if origin is not None:  # a sequence, and text is none of texts
        listed = isinstance(value, origin) and not isinstance(value, str)
        return listed and all(_fits(one, arguments[0]) for one in value)
    return isinstance(value, _KINDS.get(declared, (declared,))) and (declared is bool or not isinstance(value, bool))
