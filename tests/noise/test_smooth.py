"""Smooth noise: unit variance in every slot, `repeat` at rank 1, a rotation of `full` at the highest rank."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsrl.noise.full import FullNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise.smooth import SmoothNoise, smooth_basis

shapes = st.tuples(st.integers(1, 50), st.integers(1, 4))


def _map(noise: SmoothNoise) -> torch.Tensor:
    """The matrix [T'·D, dim] of the linear map `expand`, column by column."""
    return noise.expand(torch.eye(noise.dim)).flatten(1).T.double()


@given(shape=shapes, data=st.data())
def test_every_slot_of_smooth_noise_has_unit_variance_and_independent_dimensions(shape, data):
    slots, dims = shape
    noise = SmoothNoise(shape, 1.5, None, data.draw(st.integers(1, slots)), "zero")
    rows = _map(noise).view(slots, dims, noise.dim)
    covariance = torch.einsum("tdi,tei->tde", rows, rows)  # of w ~ N(0, I), per slot
    torch.testing.assert_close(covariance, torch.eye(dims).double().expand(slots, -1, -1), atol=1e-6, rtol=0)


@given(shape=shapes, batch=st.integers(0, 4), data=st.data())
def test_rank_one_is_repeat_bit_for_bit(shape, batch, data):
    dims = data.draw(st.none() | st.integers(1, shape[1]))
    smooth, repeat = SmoothNoise(shape, 1.5, dims, 1, "zero"), RepeatNoise(shape, 1.5, dims)
    assert smooth.dim == repeat.dim
    vectors = torch.randn(batch, smooth.dim)
    np.testing.assert_array_equal(
        smooth.expand(vectors).numpy().view(np.int32), repeat.expand(vectors).numpy().view(np.int32)
    )


@given(shape=shapes, batch=st.integers(1, 4))
def test_the_highest_rank_is_a_rotation_of_full(shape, batch):
    noise = SmoothNoise(shape, 1.5, None, shape[0], "zero")
    assert noise.dim == FullNoise(shape, 1.5, None).dim
    matrix = _map(noise)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(noise.dim).double(), atol=1e-5, rtol=0)
    vectors = torch.randn(batch, noise.dim)
    norms = [values.flatten(1).norm(dim=1) for values in (noise.expand(vectors), vectors)]
    torch.testing.assert_close(*norms, rtol=1e-5, atol=1e-5)


@given(shape=shapes, batch=st.integers(1, 5), data=st.data())
def test_smooth_noise_mixes_vectors_by_normalised_cosines_of_the_slot(shape, batch, data):
    slots, rank = shape[0], data.draw(st.integers(1, min(6, shape[0])))
    dims = data.draw(st.integers(1, shape[1]))
    noise = SmoothNoise(shape, 1.5, dims, rank, "zero")
    vectors = torch.randn(batch, noise.dim)
    before = vectors.clone()
    expanded = noise.expand(vectors)
    manual = np.zeros((batch, *shape))
    for slot in range(slots):
        weights = [math.cos(math.pi * j * (slot + 0.5) / slots) * (math.sqrt(2) if j else 1) for j in range(rank)]
        for j, weight in enumerate(weights):
            part = before[:, j * dims : (j + 1) * dims].double().numpy()
            manual[:, slot, :dims] += weight / math.hypot(*weights) * part
    np.testing.assert_allclose(expanded.numpy(), manual, atol=1e-5)
    expanded += 1.0
    assert torch.equal(vectors, before)


def test_a_row_of_smooth_noise_does_not_depend_on_the_batch():
    noise = SmoothNoise((50, 7), 1.5, None, 9, "zero")
    vectors = torch.randn(33, noise.dim)
    one_by_one = torch.cat([noise.expand(vector) for vector in vectors.split(1)])
    assert torch.equal(noise.expand(vectors), one_by_one)


def test_few_functions_are_smooth_and_a_plain_truncation_would_not_have_unit_variance():
    basis = smooth_basis(50, 4)
    assert (basis[1:] * basis[:-1]).sum(1).min() > 0.98  # correlation of neighbouring slots
    slot = torch.arange(50).double()[:, None] + 0.5
    plain = torch.cos(math.pi / 50 * torch.arange(4).double() * slot) * torch.tensor([1, 2**0.5, 2**0.5, 2**0.5])
    variances = plain.square().sum(1) / 4
    assert variances.max() / variances.min() > 1.5


@pytest.mark.parametrize("rank", [0, 9])
def test_an_impossible_rank_raises_a_sentence_with_values_that_work(rank):
    with pytest.raises(ValueError, match=rf"noise.rank={rank} but .* has 8 slots; type 1 \(as noise=repeat\) to 8"):
        SmoothNoise((8, 4), 1.5, None, rank, "zero")
