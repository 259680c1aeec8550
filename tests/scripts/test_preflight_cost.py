"""What preflight says that DSRL-NA's updates would cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toys.runs import toy_parts

from dsrl.interfaces import Encoding
from scripts.preflight.cost import cost_line, decoding_seconds


def test_as_many_chunks_as_are_asked_for_are_decoded_at_the_latest_states(monkeypatch: pytest.MonkeyPatch) -> None:
    env, sizes = toy_parts().env, set()
    env.reset_worlds(torch.arange(len(env)), range(len(env)))
    decode = env.decode

    def recorded(encoding: Encoding, vectors: Tensor) -> Tensor:
        sizes.add((len(encoding.features), tuple(vectors.shape)))
        return decode(encoding, vectors)

    monkeypatch.setattr(env, "decode", recorded)
    assert decoding_seconds(env, 5) > 0
    assert sizes == {(5, (5, env.noise.dim))}


@pytest.mark.parametrize(("seconds", "words"), [(0.14, "140 ms here, at most 13 min"), (1e-3, "1 ms here, less than")])
def test_the_line_gives_a_batch_and_a_whole_run(seconds: float, words: str) -> None:
    assert words in cost_line(seconds, 256, 5616)
