"""What a policy returns is checked at each call, and its rules are tried once, at the first reset."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys.countdown import CountdownTask, EchoPolicy

from dsrl.interfaces import Encoding
from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv

Encode = Callable[[Encoding], Any]
Decode = Callable[[Encoding, Tensor, Tensor], Any]


class Altered(EchoPolicy):
    """The echo of the countdown with an encoding and a chunk that are altered on their way out."""

    def __init__(self, encode: Encode = lambda one: one, decode: Decode = lambda encoding, noise, chunk: chunk) -> None:
        self._encode, self._decode = encode, decode
        self.decoded = 0

    def encode(self, observation):
        return self._encode(super().encode(observation))

    def decode(self, encoding, noise):
        self.decoded += 1
        return self._decode(encoding, noise, super().decode(encoding, noise))


class Storing(EchoPolicy):
    """Decodes the states that it has stored, whatever the encoding: the latest, or the first ones for good."""

    def __init__(self, latest: bool) -> None:
        self.latest, self.stored = latest, None

    def encode(self, observation):
        self.stored = observation.state.clone() if self.latest or self.stored is None else self.stored
        return super().encode(observation)

    def decode(self, encoding, noise):
        return noise + self.stored[torch.arange(len(noise)) % len(self.stored), :1, None]


def started(policy: Any, num_envs: int = 3) -> NoiseActionEnv:
    env = NoiseActionEnv(CountdownTask(num_envs), policy, FullNoise((4, 2), 1.5, None), horizon=4)
    env.reset(seeds=range(7, 7 + num_envs))
    return env


def features(change: Callable[[Tensor], Any]) -> Encode:
    return lambda one: Encoding(change(one.features), one.context)


def keys(change: Callable[[Tensor], Any]) -> Encode:
    return lambda one: Encoding(one.features, {**one.context, "keys": change(one.features)})


ENCODINGS: dict[str, Encode] = {
    "returned builtins.tuple; return an Encoding": lambda one: (one.features, {}),
    r"features numpy.ndarray \[3, 2\] but 3 rows and feature_dim make a torch tensor \[3, 2\]": features(Tensor.numpy),
    r"features \[3, 1\] but 3 rows and feature_dim make a torch tensor \[3, 2\]": features(lambda x: x[:, :1]),
    r"context 'keys' as a tensor \[5, 3\] but 3 rows make torch tensors \[3, ...\], batch first": keys(
        lambda x: torch.zeros(5, 3)
    ),
    "is not deterministic: .* moved its features by .*; call eval": features(lambda x: x + torch.randn(x.shape)),
    "is not deterministic: .* moved its context 'keys' by .*; call eval": keys(lambda x: torch.randn(len(x))),
    "is not row-wise: .* moved a row's features by 0.5 of 0.5; compute each": features(lambda x: x - x.mean(0)),
    "returned builtins.NoneType as context; return a dictionary of torch": lambda one: Encoding(one.features, None),
    "seeds the global random stream of torch, .* draw from a torch.Generator of the policy's own": lambda one: (
        torch.manual_seed(0) and one
    ),
    "seeds the global random stream of numpy": lambda one: np.random.seed(0) or one,
    "changes its inputs: it moved state by 2; compute with a clone": features(lambda x: x.add_(1)),
}
DECODINGS: dict[str, Decode] = {
    r"returned numpy.ndarray \[2, 4, 2\] but noise of 2 rows": lambda encoding, noise, chunk: chunk.numpy(),
    r"returned \[2, 4, 1\] but .* chunk_shape \(4, 2\) make a torch tensor \[2, 4, 2\]": lambda *flow: flow[2][..., :1],
    r"returned \[1, 4, 2\] but": lambda encoding, noise, chunk: chunk[:1],
    r"returned \[2, 2, 2\] but": lambda encoding, noise, chunk: chunk[:, :2],
    "is not deterministic: the same noise moved its chunk by": lambda *flow: flow[2] + 0.1 * torch.randn(4, 2),
    "is not row-wise: the rest of the batch": lambda encoding, noise, chunk: chunk - chunk.mean(0),
    "is not row-wise: the rest of": lambda encoding, noise, chunk: chunk / len(chunk),
    "seeds the global random stream of torch": lambda *flow: torch.manual_seed(0) and flow[2],
    "seeds the global random stream of Python, .* draw from a random.Random": lambda *flow: random.seed(0) or flow[2],
    "fails for one row, after two .ValueError: Expected more than 1 value per channel .*; compute each .*eval": (
        lambda *flow: torch.nn.BatchNorm1d(8)(flow[2].flatten(1)).view_as(flow[2])
    ),
    "changes its inputs: it moved features by": lambda *flow: flow[2] + 0 * flow[0].features.add_(1).sum(),
    "changes its inputs: it moved noise by .*; compute with a clone": lambda *flow: flow[1].mul_(0.5),
}


@pytest.mark.parametrize("sentence", ENCODINGS)
def test_an_encoding_that_breaks_a_rule_is_refused_before_anything_plays(sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^policy Altered.encode .*{sentence}"):
        started(Altered(encode=ENCODINGS[sentence]))


@pytest.mark.parametrize("sentence", DECODINGS)
def test_a_chunk_that_breaks_a_rule_is_refused_before_anything_plays(sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^policy Altered.decode .*{sentence}"):
        started(Altered(decode=DECODINGS[sentence]))


@pytest.mark.parametrize(("num_envs", "latest"), [(1, True), (3, True), (8, True), (3, False)])
def test_a_policy_that_decodes_what_it_stored_is_refused(num_envs: int, latest: bool) -> None:
    with pytest.raises(ValueError, match=r"Storing.decode is not (deterministic|row-wise): .* moved .* chunk by"):
        started(Storing(latest), num_envs)


def test_an_encoding_in_memory_that_the_next_one_fills_is_refused_as_a_mistake_of_encode() -> None:
    filled = torch.zeros(2, 2)
    fill = features(lambda x: filled.copy_(x) if len(x) == 2 else x)
    with pytest.raises(
        ValueError, match=r"^policy Altered.encode returns the same memory again: .* moved the features"
    ):
        started(Altered(encode=fill))


@pytest.mark.parametrize("factor", [0.0, float("nan")])
def test_a_policy_that_ignores_its_noise_or_loses_its_chunks_is_not_refused_by_the_trial(factor: float) -> None:
    started(Altered(decode=lambda encoding, noise, chunk: (chunk - noise + 1) * factor))


def test_the_trial_leaves_all_global_random_streams_as_they_were() -> None:
    def draw(encoding: Encoding, noise: Tensor, chunk: Tensor) -> Tensor:
        return chunk + 0 * (torch.randn(()) + np.random.rand() + random.random())

    def streams() -> list[Any]:
        return [torch.get_rng_state().tolist(), np.random.get_state()[1:3], random.getstate()]

    np.random.rand(), random.random()  # so that no stream begins
    before, policy = streams(), Altered(decode=draw)
    started(policy)
    assert policy.decoded > 0
    assert str(streams()) == str(before)


def test_a_policy_is_tried_once_unless_it_was_measured_and_its_chunks_are_checked_at_every_call() -> None:
    policy = Altered()
    env = started(policy)
    tried = policy.decoded
    env.reset([1], seeds=[8])
    assert policy.decoded == tried > 0
    measured = Altered(decode=lambda encoding, noise, chunk: chunk[..., :1])
    measured.measured = True
    env = started(measured)
    assert measured.decoded == 0
    expected = r"Altered.decode returned \[3, 4, 1\] but noise of 3 rows and chunk_shape \(4, 2\) make .* \[3, 4, 2\]"
    for play in (env.step, lambda vectors: env.decode(env.encoding, torch.as_tensor(vectors))):
        with pytest.raises(ValueError, match=expected):
            play(np.ones((3, 8), np.float32))
