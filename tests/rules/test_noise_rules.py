"""The rules of a noise are tried once, when an environment is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from toys.countdown import CountdownTask, EchoPolicy

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv


class Altered(FullNoise):
    """Full noise whose vectors and whose noise are altered, as one of somebody's own may."""

    def __init__(self, before: Callable[[Tensor], Any], after: Callable[[Tensor], Any], width: int) -> None:
        super().__init__((4, 2), 1.5, None)
        self.before, self.after, self.width = before, after, width

    def expand(self, vectors: Tensor) -> Any:
        return self.after(super().expand(self.before(vectors)))

    def sample_prior(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(num, self.width, generator=generator)


def build(before: Any = lambda x: x, after: Any = lambda x: x, width: int = 8, *, draws: bool = False) -> None:
    noise = Altered(before, after, width)
    noise.draws = draws
    NoiseActionEnv(CountdownTask(2), EchoPolicy(), noise, horizon=4)


BROKEN: dict[str, dict[str, Any]] = {
    "expand changes its inputs: it moved vectors by .*; compute with a clone": {"before": lambda x: x.mul_(0.5)},
    "expand is not deterministic: .* draw nothing in it": {"after": lambda x: x + torch.randn_like(x)},
    "expand is not row-wise: .* compute each row": {"after": lambda x: x - x.mean(0)},
    r"expand returned numpy.ndarray \[3, 4, 2\] but 3 vectors make a torch tensor": {"after": Tensor.numpy},
    r"expand returned a tensor \[1, 4, 2\] but 3 vectors": {"after": lambda x: x[:1]},
    r"sample_prior returned a tensor \[3, 9\] but 3 vectors of its dim=8 make a torch tensor \[3, 8\]": {"width": 9},
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_noise_that_breaks_a_rule_is_refused_before_anything_plays(sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^noise Altered.{sentence}"):
        build(**BROKEN[sentence])


def test_a_noise_that_declares_its_draws_may_draw_and_the_trial_leaves_the_global_stream_alone() -> None:
    before = torch.get_rng_state()
    build(after=lambda x: x + torch.randn_like(x), draws=True)
    assert torch.equal(torch.get_rng_state(), before)
