"""Sources of noise for evaluations: the base policy, its prior behind a parametrisation, an algorithm, best of N.

Every draw is a function of (world, decision) alone, independent of the batch that holds the world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsrl.edits import EditsChunks
from dsrl.interfaces import Algorithm, ChunkCritic, DrawsUnsteered, Encoding, Noise

Act = Callable[[Encoding, Sequence[int], int], Tensor]
"""(encoding of n worlds, their seeds, index of the decision) -> the sampler's initial noise [n, T', D]"""


def base_noise(noise_shape: tuple[int, int], draw: int = 0) -> Act:
    """Return the unsteered policy's noise: independent N(0, I) in every slot; another `draw` is independent."""

    def act(encoding: Encoding, seeds: Sequence[int], decision: int) -> Tensor:
        return torch.stack([torch.randn(noise_shape, generator=generator(seed, decision, draw)) for seed in seeds])

    return act


def prior_noise(noise: Noise, bound: float = float("inf"), draw: int = 0) -> Act:
    """Return N(0, I) through a parametrisation, each number clipped to ±bound."""

    def act(encoding: Encoding, seeds: Sequence[int], decision: int) -> Tensor:
        vectors = _prior(noise, seeds, decision, draw=draw).clamp(-bound, bound)
        return expanded(noise, vectors, seeds, decision, draw)

    return act


@dataclass(frozen=True)
class EditedNoise:
    """A source of noise whose chunks are edited before they are executed."""

    act: Act
    editor: EditsChunks

    def __call__(self, encoding: Encoding, seeds: Sequence[int], decision: int) -> Tensor:
        """Return the noise [n, T', D]."""
        return self.act(encoding, seeds, decision)

    def edit(self, encoding: Encoding, chunk: Tensor) -> Tensor:
        """Return the chunks [n, h, A] to execute."""
        return self.editor.edit(encoding, chunk)


def steered_noise(algorithm: Algorithm, noise: Noise, *, stochastic: bool) -> Act:
    """Return the noise that `algorithm` chooses: its mean, or a draw; with its edits, where it edits chunks."""

    def act(encoding: Encoding, seeds: Sequence[int], decision: int) -> Tensor:
        normal = _prior(noise, seeds, decision) if stochastic else None
        return expanded(noise, algorithm.act(encoding.features.float(), normal), seeds, decision)

    return EditedNoise(act, algorithm) if isinstance(algorithm, EditsChunks) else act


def best_of_noise(critic: ChunkCritic, noise: Noise, num: int) -> Act:
    """Return the best of `num` draws of N(0, I) by the smallest of the critics' values of their chunks."""

    def act(encoding: Encoding, seeds: Sequence[int], decision: int) -> Tensor:
        repeated = encoding[torch.arange(len(seeds)).repeat_interleave(num)]
        vectors = _prior(noise, seeds, decision, num)
        values = critic.chunk_values(repeated, vectors).amin(0).view(len(seeds), num)
        return noise.expand(vectors[values.argmax(1).cpu() + num * torch.arange(len(seeds))])

    return act


def evaluation_noise(algorithm: Algorithm, noise: Noise, *, best_of: int | None, stochastic: bool | None = None) -> Act:
    """Return the noise that evaluations of `algorithm` play: its own, or its `best_of` draws where that is set.

    `stochastic` None leaves it to the algorithm. Raises ValueError for an algorithm without values of chunks.
    """
    check_best_of(algorithm, best_of, noise)
    if best_of is not None:
        assert isinstance(algorithm, ChunkCritic)
        return best_of_noise(algorithm, noise, best_of)
    return steered_noise(algorithm, noise, stochastic=algorithm.stochastic if stochastic is None else stochastic)


def check_best_of(algorithm: Any, best_of: int | None, noise: Noise | None = None) -> None:
    """Raise ValueError where `best_of` is set and `algorithm` learns no values of chunks, or `noise` draws besides."""
    if best_of is not None and not isinstance(algorithm, ChunkCritic):
        raise ValueError(
            f"best_of={best_of} needs values of chunks to choose by, which {type(algorithm).__name__} does not learn; "
            "type best_of=null, or train with sac=dsrl_na"
        )
    if best_of is not None and _draws(noise):
        raise ValueError(
            f"best_of={best_of} values chunks by their noise vectors, but noise.unsteered=fresh draws other numbers "
            "besides; type best_of=null, or train with noise.unsteered=zero"
        )


def expanded(noise: Noise, vectors: Tensor, seeds: Sequence[int], decision: int, draw: int = 0) -> Tensor:
    """Return the sampler's noise [n, T', D] of vectors [n, dim], with draws from the worlds' own streams."""
    if not (isinstance(noise, DrawsUnsteered) and noise.draws):
        return noise.expand(vectors)
    streams = [generator(seed, decision, draw, unsteered=True) for seed in seeds]
    return torch.cat([noise.expand_drawn(vectors[i : i + 1], stream) for i, stream in enumerate(streams)])


def generator(seed: int, decision: int, draw: int = 0, *, unsteered: bool = False) -> torch.Generator:
    """Return the random stream of one (world, decision, draw); another one for the numbers that are not steered."""
    key = (seed, decision, draw, 1) if unsteered else (seed, decision, draw) if draw else (seed, decision)
    state = np.random.SeedSequence(key).generate_state(1, dtype=np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & 0x7FFF_FFFF_FFFF_FFFF)


def _prior(noise: Noise, seeds: Sequence[int], decision: int, num: int = 1, draw: int = 0) -> Tensor:
    """N(0, I) vectors [len(seeds)·num, dim], the `num` of a world in a row."""
    return torch.cat([noise.sample_prior(num, generator(seed, decision, draw)) for seed in seeds])


def _draws(noise: Noise | None) -> bool:
    return isinstance(noise, DrawsUnsteered) and noise.draws
