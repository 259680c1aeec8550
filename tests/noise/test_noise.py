"""Noise parametrisations: the sampler's noise for given vectors of the actor, and their priors."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsrl.interfaces import Noise
from dsrl.noise.full import FullNoise
from dsrl.noise.per_step import PerStepNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise.smooth import SmoothNoise
from dsrl.noise.space import NoiseSpace

KINDS = {
    "repeat": RepeatNoise,
    "full": FullNoise,
    "smooth": partial(SmoothNoise, rank=2, unsteered="zero"),
    "per_step": partial(PerStepNoise, horizon=2, unsteered="zero"),
}

shapes = st.tuples(st.integers(1, 6), st.integers(1, 5))


@given(shape=shapes, batch=st.integers(1, 4), data=st.data())
def test_repeated_noise_is_a_manual_tile_and_does_not_change_its_input(shape, batch, data):
    dims = data.draw(st.integers(1, shape[1]))
    noise = RepeatNoise(shape, magnitude=1.5, action_dims=dims)
    vectors = torch.randn(batch, noise.dim)
    before = vectors.clone()
    expanded = noise.expand(vectors)
    manual = np.zeros((batch, *shape), np.float32)
    for row in range(batch):
        for slot in range(shape[0]):
            manual[row, slot, :dims] = before[row].numpy()
    np.testing.assert_array_equal(expanded.numpy(), manual)
    expanded += 1.0
    assert torch.equal(vectors, before)


@given(shape=shapes, batch=st.integers(1, 4), data=st.data())
def test_full_noise_fills_slot_after_slot_and_does_not_change_its_input(shape, batch, data):
    dims = data.draw(st.integers(1, shape[1]))
    noise = FullNoise(shape, magnitude=1.5, action_dims=dims)
    vectors = torch.randn(batch, noise.dim)
    before = vectors.clone()
    expanded = noise.expand(vectors)
    manual = np.zeros((batch, *shape), np.float32)
    for row in range(batch):
        for slot in range(shape[0]):
            manual[row, slot, :dims] = before[row, slot * dims : (slot + 1) * dims].numpy()
    np.testing.assert_array_equal(expanded.numpy(), manual)
    expanded += 1.0
    assert torch.equal(vectors, before)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_prior_is_standard_normal_and_repeats_with_its_generator(kind):
    noise = kind((3, 4), magnitude=0.5, action_dims=2)
    first = noise.sample_prior(20000, torch.Generator().manual_seed(1))
    again = noise.sample_prior(20000, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    assert first.shape == (20000, noise.dim)
    assert first.mean().abs() < 0.02
    assert (first.std() - 1.0).abs() < 0.02


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_impossible_noise_raises_a_sentence_with_values_that_work(kind):
    with pytest.raises(ValueError, match=r"noise.action_dims=5 but .* has 4 dimensions; type 1 to 4, or null"):
        kind((3, 4), magnitude=1.0, action_dims=5)
    with pytest.raises(ValueError, match=r"noise.magnitude=0.0 must be above 0; type a number"):
        kind((3, 4), magnitude=0.0, action_dims=None)
    with pytest.raises(ValueError, match=r"have shape \(1, 1\) but this parametrisation takes"):
        kind((3, 4), magnitude=1.0, action_dims=None).expand(torch.zeros(1, 1))


@pytest.mark.parametrize(("kind", "dim"), [("repeat", 2), ("full", 6), ("smooth", 4), ("per_step", 4)])
def test_a_parametrisation_has_the_dimension_and_magnitude_of_its_contract(kind, dim):
    noise: Noise = KINDS[kind]((3, 4), magnitude=1.5, action_dims=2)
    assert (noise.dim, noise.magnitude) == (dim, 1.5)
    expanded = noise.expand(torch.ones(5, noise.dim))
    assert expanded.shape == (5, 3, 4)
    assert (expanded[:, :2, :2] != 0).all()
    assert (expanded[:, :, 2:] == 0).all()  # in the dimensions beyond


def test_the_noise_space_is_the_box_of_the_magnitude_and_samples_the_prior_clipped_or_not():
    space = NoiseSpace(dim=20000, magnitude=1.5)
    space.seed(0)
    clipped = space.sample()
    assert (space.shape, float(space.low[0]), float(space.high[0])) == ((20000,), -1.5, 1.5)
    assert space.contains(clipped)
    space.clips = False
    space.seed(0)
    unclipped = space.sample()
    assert np.abs(unclipped).max() > 3.0
    np.testing.assert_array_equal(np.clip(unclipped, -1.5, 1.5), clipped)
    assert unclipped.dtype == clipped.dtype == np.float32
