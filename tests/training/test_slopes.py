"""Slopes of decoded chunks: few rows at once, steps that fit the precision, and draws that stay the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from toys.guess import Echo, Guess
from toys.mlp_checkpoints import load, make_mlp_checkpoint

from dsrl.interfaces import Encoding
from dsrl.noise.per_step import PerStepNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.noise_inversion import nearest, noise_of
from dsrl.training.slopes import LARGEST, MOVED_AT_ONCE, SMALLEST, slopes, step_of

ROWS = 6


def curved(w: Tensor, rows: Tensor) -> Tensor:
    """Return three sines of sums of the numbers, other ones at each row."""
    weights = torch.linspace(-1, 1, 3 * w.shape[1], dtype=w.dtype).view(w.shape[1], 3)
    return torch.sin(w @ weights + rows[:, None])


def test_no_more_than_a_bounded_number_of_rows_is_decoded_together_and_slopes_are_those_of_one_call() -> None:
    calls: list[int] = []

    def decode(w: Tensor, rows: Tensor) -> Tensor:
        calls.append(len(w))
        return curved(w, rows)

    dim, step = 50, 1e-3
    w, rows = torch.randn(ROWS, dim, generator=torch.Generator().manual_seed(0)).double(), torch.arange(ROWS)
    found = slopes(decode, w, rows, curved(w, rows), step)
    moved = w[:, None] + step * torch.eye(dim, dtype=w.dtype)
    others = curved(moved.flatten(0, 1), rows.repeat_interleave(dim)).view(ROWS, dim, 3)
    torch.testing.assert_close(found, ((others - curved(w, rows)[:, None]) / step).mT)
    assert max(calls) <= MOVED_AT_ONCE < ROWS * dim == sum(calls)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_takes_the_smallest_step(dtype: torch.dtype) -> None:
    assert step_of(curved, torch.zeros(ROWS, 5, dtype=dtype), torch.arange(ROWS)) == SMALLEST


def test_a_policy_that_computes_in_bfloat16_gets_slopes_and_its_noise_is_found(tmp_path: Path) -> None:
    policy = load("flow_mlp", make_mlp_checkpoint(tmp_path, "flow_mlp"), None)
    generator, rows = torch.Generator().manual_seed(0), torch.arange(ROWS)
    encoding = Encoding(torch.randn(ROWS, 3, generator=generator), {})
    noise = torch.randn(ROWS, *policy.noise_shape, generator=generator).clamp(-1.5, 1.5)

    def decode(w: Tensor, rows: Tensor, *, half: bool = True) -> Tensor:
        noise = w.view(-1, *policy.noise_shape)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return policy.decode(encoding[rows], noise.bfloat16().float() if half else noise).float().flatten(1)

    start = noise.flatten(1)
    step = step_of(decode, start, rows)
    assert 0.01 < step <= LARGEST

    def exact(w: Tensor, rows: Tensor) -> Tensor:
        return decode(w, rows, half=False)

    right = slopes(exact, start, rows, exact(start, rows), SMALLEST)

    def error(step: float) -> float:
        return float((slopes(decode, start, rows, decode(start, rows), step) - right).norm() / right.norm())

    assert error(step) < 0.3
    assert error(SMALLEST) > 0.9  # as far off as no slopes at all
    found = nearest(decode, decode(start, rows), start.shape[1], 1.5)
    left = (decode(found, rows) - decode(start, rows)).abs().mean()
    assert left < 0.1 * (decode(0 * start, rows) - decode(start, rows)).abs().mean()


class Neighbour(Echo):
    """The first action is the sum of both slots' noise."""

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        return noise.cumsum(1).flip(1)


def test_numbers_that_are_drawn_besides_do_not_enter_slopes() -> None:
    noise = PerStepNoise((2, 1), 1.0, None, 1, "fresh")
    env = NoiseActionEnv(Guess(ROWS), Neighbour(), noise, horizon=1)
    encoding = Encoding(torch.zeros(ROWS, 1), {})
    u, wanted = torch.linspace(-0.9, 0.9, ROWS)[:, None], torch.Generator()
    sums = [float(noise.expand_drawn(u[i : i + 1], wanted.manual_seed(i)).sum()) for i in range(ROWS)]
    found, fidelity = noise_of(env, encoding, torch.tensor(sums).view(ROWS, 1, 1), torch.ones(1))
    torch.testing.assert_close(found, u, rtol=0, atol=1e-3)
    assert fidelity.error < 1e-3
