"""What preflight says that DSRL-NA's updates would cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toys.runs import toy_parts

from dsrl.interfaces import Encoding
from scripts.preflight.cost import cost_line, decoding_seconds


def sizes_decoded(monkeypatch: pytest.MonkeyPatch, rows: int) -> set[tuple[int, tuple[int, ...]]]:
    """Return the numbers of states, and shapes of noise, that timing a batch of `rows` decodes."""
    env, sizes = toy_parts().env, set()
    env.reset_worlds(torch.arange(len(env)), range(len(env)))
    decode = env.decode

    def recorded(encoding: Encoding, vectors: Tensor) -> Tensor:
        sizes.add((len(encoding.features), tuple(vectors.shape)))
        return decode(encoding, vectors)

    monkeypatch.setattr(env, "decode", recorded)
    assert decoding_seconds(env, rows) > 0
    return sizes


def test_a_chunk_for_each_world_and_then_as_many_as_are_asked_for_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    env = toy_parts().env
    assert len(env) != 5
    expected = {(rows, (rows, env.noise.dim)) for rows in (len(env), 5)}
    assert sizes_decoded(monkeypatch, 5) == expected


def test_a_batch_of_a_slow_policy_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.preflight.cost.SLOW", 0.0)
    env = toy_parts().env
    assert sizes_decoded(monkeypatch, 5) == {(len(env), (len(env), env.noise.dim))}


@pytest.mark.parametrize(("seconds", "words"), [(0.14, "140 ms here, at most 13 min"), (1e-3, "1 ms here, less than")])
def test_the_line_gives_a_batch_and_a_whole_run(seconds: float, words: str) -> None:
    assert words in cost_line(seconds, 256, 5616)
