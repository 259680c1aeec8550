"""Checks what a policy returns at each call, and tries its rules once, before it plays.

    encode   the same observation -> the same encoding; of a row alone; observation unchanged
    decode   the same noise       -> the same chunk;    of a row alone; encoding and noise unchanged
    both     leave the global random streams unseeded: learning draws from them as well

A policy that ignores its noise passes: whether noise steers it is measured elsewhere. A trial is of two rows, and
leaves the global random streams as they were.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dsrl.interfaces import Encoding, Observation, Policy
from dsrl.rules._described import described

MOVED = 1e-3  # of what another noise moves: more is no rounding where the same shapes are computed again
ROUNDED = 1e-6  # of the size of a chunk: rounding, where noise moves next to nothing
BATCHED = 0.1  # of the size: batches of other contents round otherwise, in half precision by some percents
STILL = "call eval() on your networks, draw nothing in it and store nothing between calls"
OWN = {"torch": "a torch.Generator", "numpy": "a numpy.random.Generator", "Python": "a random.Random"}  # stream -> own
ALONE = "compute each row from that row alone (eval() of networks, no statistics of the batch)"


@runtime_checkable
class Measured(Protocol):
    """A policy whose steering was measured when it was loaded, so that no trial follows (optional)."""

    measured: bool


def encode(policy: Policy, observation: Observation) -> Encoding:
    """Encode a batch of observations. Raises ValueError where the result is not what a policy has to return."""
    encoding, num, name = policy.encode(observation), len(observation.state), f"policy {type(policy).__name__}.encode"
    if not isinstance(encoding, Encoding):
        raise ValueError(f"{name} returned {described(encoding)}; return an Encoding of dsrl.interfaces")
    _check(f"{name} returned features", encoding.features, (num, policy.feature_dim), f"{num} rows and feature_dim")
    if not isinstance(encoding.context, Mapping):
        found = described(encoding.context)
        raise ValueError(f"{name} returned {found} as context; return a dictionary of torch tensors, {{}} without any")
    for key, value in encoding.context.items():
        if not isinstance(value, Tensor) or value.ndim < 1 or len(value) != num:
            raise ValueError(
                f"{name} returned context {key!r} as {described(value)} but {num} rows make torch tensors "
                f"[{num}, ...], batch first"
            )
    return encoding


def decode(policy: Policy, encoding: Encoding, noise: Tensor) -> Tensor:
    """Decode noise [B, T', D] into chunks [B, T, A]. Raises ValueError where the result is anything else."""
    chunk, num, shape = policy.decode(encoding, noise), len(noise), tuple(policy.chunk_shape)
    name = f"policy {type(policy).__name__}.decode returned"
    _check(name, chunk, (num, *shape), f"noise of {num} rows and chunk_shape {shape}")
    return chunk


def _check(returned: str, found: Any, expected: tuple[int, ...], of: str) -> None:
    if not isinstance(found, Tensor) or tuple(found.shape) != expected:
        kind = list(found.shape) if isinstance(found, Tensor) else described(found)
        raise ValueError(f"{returned} {kind} but {of} make a torch tensor {list(expected)}")


@torch.no_grad()
def try_rules(policy: Policy, observation: Observation, device: torch.device) -> None:
    """Try the rules on the first two of some observations, unless the policy was measured when it was loaded.

    A single observation is tried beside a copy of other numbers.

    `device` is that of its encodings. Raises ValueError with the rule that is broken, by how much, and what to do.
    """
    if isinstance(policy, Measured) and policy.measured:
        return
    pair = _two(observation)
    with _restored_streams(device):
        encoding = _try_encode(policy, pair, pair[torch.tensor([0, 0])])
        _try_decode(policy, encoding, pair[torch.tensor([1, 0])], device)


def _two(observation: Observation) -> Observation:
    """Return the first two observations, or the only one and a copy nearer to zero: within the range of its numbers."""
    some = observation[torch.arange(min(2, len(observation.state)))]
    images = {camera: torch.cat([image, 255 - image])[:2] for camera, image in some.images.items()}
    return Observation(torch.cat([some.state, 0.9 * some.state])[:2], images, (some.instruction * 2)[:2])


def _try_encode(policy: Policy, pair: Observation, twins: Observation) -> Encoding:
    """Encode two observations, twice the first of them, and the two again."""
    name, before = f"policy {type(policy).__name__}.encode", {"state": pair.state.clone()}
    before |= {camera: image.clone() for camera, image in pair.images.items()}
    _seed_streams(1)
    first, drawn = encode(policy, pair), _streams()
    _seed_streams(2)
    beside, again = encode(policy, twins), encode(policy, pair)
    _check_unseeded(name, drawn)
    _check_unchanged(name, before, {"state": pair.state, **pair.images})
    for key, value in _tensors(first).items():
        drift, size = _distance(_tensors(again)[key], value), _size(value)
        if drift > MOVED * size:
            raise ValueError(
                f"{name} is not deterministic: encoding the same observation again moved its {key} by {drift:.2g} of "
                f"{size:.2g}; {STILL}"
            )
    drift, size = _distance(beside.features[0], first.features[0]), _size(first.features)
    if drift > BATCHED * size:
        raise ValueError(
            f"{name} is not row-wise: another row in the batch moved a row's features by {drift:.2g} of "
            f"{size:.2g}; {ALONE}"
        )
    return first


def _try_decode(policy: Policy, encoding: Encoding, others: Observation, device: torch.device) -> None:
    """Decode two rows, the first beside itself under another noise, the second alone, the two again after `others`."""
    name, before = f"policy {type(policy).__name__}.decode", {k: v.clone() for k, v in _tensors(encoding).items()}
    noise = torch.randn(2, *policy.noise_shape, generator=torch.Generator().manual_seed(0)).to(device)
    changed, kept = torch.stack([noise[0], -noise[1]]), noise.clone()

    def chunk(encoding: Encoding, noise: Tensor) -> Tensor:
        return decode(policy, encoding, noise).clone()  # a policy may return the same memory each time

    _seed_streams(1)
    first, drawn = chunk(encoding, noise), _streams()
    _seed_streams(2)
    beside = chunk(encoding[torch.tensor([0, 0])], changed)
    alone = _decode_alone(policy, encoding[torch.tensor([1])], kept[1:].clone()).clone()
    _check_unchanged(name, {**before, "noise": kept}, {**_tensors(encoding), "noise": noise})
    encode(policy, others)  # replay decodes encodings of other times
    _check_own_memory(f"policy {type(policy).__name__}.encode", before, _tensors(encoding))
    again = chunk(encoding, noise)
    _check_unseeded(name, drawn)
    _check_unchanged(name, {**before, "noise": kept}, {**_tensors(encoding), "noise": noise})
    if not all(torch.isfinite(one).all() for one in (first, beside, again, alone)):
        return  # which play reports, with the world
    steer, size = _distance(beside[1], first[0]), _size(first)
    allowed = MOVED * (steer or size) + ROUNDED * size
    drift, other = _distance(again, first), f"another noise by {steer:.2g}"
    if drift > allowed:
        moved = f"the same noise moved its chunk by {drift:.2g}, {other}"
        raise ValueError(f"{name} is not deterministic: {moved}; {STILL}")
    drift, apart = _distance(beside[0], first[0]), _distance(alone[0], first[1])
    if drift > allowed or apart > BATCHED * max(steer, size):
        moved = f"the rest of the batch moved a row's chunk by {max(drift, apart):.2g}, {other}"
        raise ValueError(f"{name} is not row-wise: {moved}; {ALONE}")


def _decode_alone(policy: Policy, encoding: Encoding, noise: Tensor) -> Tensor:
    """Decode a single row. Raises ValueError for whatever the policy raises, having decoded two rows before."""
    try:
        return decode(policy, encoding, noise)
    except Exception as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(
            f"policy {type(policy).__name__}.decode fails for one row, after two ({found}); {ALONE}"
        ) from error


def _seed_streams(number: int) -> None:
    torch.default_generator.manual_seed(number)  # the CPU's alone: of devices, one is restored
    np.random.seed(number)
    random.seed(number)


def _streams() -> dict[str, Any]:
    """Return the states of the global random streams, to be compared."""
    _, words, position, *_ = np.random.get_state(legacy=True)
    numpy = (np.asarray(words).tobytes(), position)
    return {"torch": torch.get_rng_state().numpy().tobytes(), "numpy": numpy, "Python": random.getstate()}


def _check_unseeded(name: str, before: Mapping[str, Any]) -> None:
    """Raise ValueError where streams that began in other states ended in those of `before`."""
    for stream, state in _streams().items():
        if state == before[stream]:
            raise ValueError(
                f"{name} seeds the global random stream of {stream}, from which learning draws as well: its draws "
                f"would repeat; draw from {OWN[stream]} of the policy's own"
            )


def _check_unchanged(name: str, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    for key, value in before.items():
        drift = _distance(after[key], value)
        if drift > 0:
            raise ValueError(f"{name} changes its inputs: it moved {key} by {drift:.2g}; compute with a clone() of it")


def _check_own_memory(name: str, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Raise ValueError where another call of `encode` moved an encoding that it had returned."""
    for key, value in before.items():
        drift = _distance(after[key], value)
        if drift > 0:
            raise ValueError(
                f"{name} returns the same memory again: encoding other observations moved the {key} that it had "
                f"returned by {drift:.2g}; return a clone() of it"
            )


def _tensors(encoding: Encoding) -> dict[str, Tensor]:
    return {"features": encoding.features, **{f"context {key!r}": value for key, value in encoding.context.items()}}


def _size(value: Tensor) -> float:
    return _distance(value, torch.zeros_like(value))


def _distance(one: Tensor, other: Tensor) -> float:
    """Return how far numbers moved at most; masks may be infinite, where both are."""
    if one.shape != other.shape:
        return torch.inf
    differ = one != other
    return float((one[differ].double() - other[differ].double()).abs().max()) if differ.any() else 0.0


@contextmanager
def _restored_streams(device: torch.device) -> Iterator[None]:
    """Leave the global random streams of torch, numpy and Python as they were."""
    numbers, python = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            np.random.set_state(numbers)
            random.setstate(python)
