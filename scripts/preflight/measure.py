"""The frozen policy in the same worlds under several noises, several draws of each.

    worlds x noises x draws -> successes [W, n]      does the actor's noise cost anything, what would its best draw give
    worlds x draws of w     -> chunks [W, n, T, A]   how far noise moves what is done

Draw 0 of a world is the noise that train.py's own base evaluations give it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.evaluation.episodes import Act, Evaluation, evaluate, generator, wilson
from dsrl.noise_action_env import Noise, NoiseActionEnv

BASE, STILL = "full", "w = 0"  # independent N(0, I) in every slot, which is the policy as it was trained; its mean
MOVES = 16  # draws of w for each world's chunks


@dataclass(frozen=True)
class Outcomes:
    """Successes [W, n] of W worlds under n draws of one noise."""

    successes: NDArray[np.bool_]

    @property
    def rate(self) -> float:
        """The success rate over all episodes."""
        return float(self.successes.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % Wilson interval, for these worlds; conservative, as hard and easy ones vary less than chance."""
        return wilson(int(self.successes.sum()), self.successes.size)

    @property
    def draws(self) -> int:
        """How many draws every world met."""
        return self.successes.shape[1]

    @property
    def mixed(self) -> int:
        """The number of worlds that some draws solve and others do not."""
        return int((self.successes.any(1) & ~self.successes.all(1)).sum())

    def pass_at(self, k: int) -> float:
        """The share of worlds that the best of `k` draws solves: 1 - C(n-c, k) / C(n, k), averaged over worlds.

        Unbiased for any k up to n (Chen et al., arXiv 2107.03374, eq. 1). Raises ValueError beyond.
        """
        num = self.draws
        if not 1 <= k <= num:
            raise ValueError(f"pass@{k} was asked of {num} draws; choose 1 to {num}")
        failures = num - self.successes.sum(1)
        missed = np.ones(len(failures))
        for i in range(k):  # all of k draws without replacement fail
            missed *= np.maximum(failures - i, 0) / (num - i)
        return float(1 - missed.mean())

    def pass_interval(self, k: int) -> tuple[float, float]:
        """A 95 % Wilson interval of `pass_at(k)` over worlds; conservative: numbers in [0, 1] vary less than hits."""
        return wilson_of_mean(self.pass_at(k), len(self.successes))


@dataclass(frozen=True)
class Movement:
    """Standard deviations per action dimension [A] of chunks at the worlds' first look, in action units."""

    over_noise: tuple[float, ...]  # within a world, over draws of the actor's noise
    between_worlds: tuple[float, ...]  # of the worlds' mean chunks: what looking changes

    @property
    def relative(self) -> tuple[float, ...]:
        """Movement by noise as a multiple of that between worlds; 0 where nothing moves, inf where only noise moves."""
        pairs = zip(self.over_noise, self.between_worlds, strict=True)
        return tuple(noise / worlds if worlds > 0 else float("inf") if noise > 0 else 0.0 for noise, worlds in pairs)


@dataclass(frozen=True)
class Preflight:
    """All that was measured."""

    first_seed: int
    noise: str  # the parametrisation that training would use; its clipped row is `actor`
    magnitude: float
    outcomes: Mapping[str, Outcomes]  # by noise, BASE first
    movement: Movement
    threshold: float | None = None  # the return that counts as success where the task knows none

    @property
    def actor(self) -> str:
        """The row of noise as the actor will be able to give it."""
        return clipped_name(self.noise, self.magnitude)


def clipped_name(noise: str, magnitude: float) -> str:
    """The name of the row in which every number of `noise` is clipped to ±magnitude."""
    return f"{noise} ±{magnitude:g}"


def measure(
    env: NoiseActionEnv,
    noises: Mapping[str, Noise],
    *,
    worlds: int,
    first_seed: int,
    draws: int,
    other_draws: int,
    on_row: Callable[[str, Outcomes], None],
    threshold: float | None = None,
) -> Preflight:
    """Play worlds `first_seed …` under N(0, I) through each of `noises`, unclipped and clipped, and at w = 0.

    `env.noise` is one of `noises` and gets `draws` draws a world (clipped, as the actor gives it), all other rows
    `other_draws`, and w = 0 needs one. The base policy's row is its own noise, whatever `noises["full"]` restricts.
    `on_row` is called after each row. Where the task knows no success, an episode whose return is `threshold` or more
    counts as one; None takes the median return of the base policy, which then succeeds in half of its episodes.
    """
    chosen = next(name for name, noise in noises.items() if noise is env.noise)
    actor = clipped_name(chosen, env.noise.magnitude)
    rows: dict[str, Callable[[int], Act]] = {BASE: lambda draw: independent(env.policy.noise_shape, draw)}
    rows |= {name: _through(noise, None) for name, noise in noises.items() if name != BASE}
    rows |= {clipped_name(name, noise.magnitude): _through(noise, noise.magnitude) for name, noise in noises.items()}
    rows[STILL] = _through(env.noise, 0.0)
    outcomes: dict[str, Outcomes] = {}
    for name, act in rows.items():
        num = draws if name == actor else 1 if name == STILL else other_draws
        played = [evaluate(env, act(draw), episodes=worlds, first_seed=first_seed) for draw in range(num)]
        if threshold is None and not env.has_success:
            threshold = float(np.median([one.returns for one in played]))
        outcomes[name] = _outcomes(played, threshold)
        on_row(name, outcomes[name])
    movement = chunk_movement(env, range(first_seed, first_seed + worlds))
    counted = None if env.has_success else threshold
    return Preflight(first_seed, chosen, env.noise.magnitude, outcomes, movement, counted)


def independent(noise_shape: tuple[int, int], draw: int) -> Act:
    """Draw number `draw` of the base policy's own noise, a function of (world, decision, draw) alone."""

    def act(features: NDArray[np.float32], seeds: Sequence[int], decision: int) -> Tensor:
        return torch.stack([torch.randn(noise_shape, generator=generator(seed, decision, draw)) for seed in seeds])

    return act


def _through(noise: Noise, bound: float | None) -> Callable[[int], Act]:
    """N(0, I) through a parametrisation, clipped to ±bound where there is one."""

    def of_draw(draw: int) -> Act:
        def act(features: NDArray[np.float32], seeds: Sequence[int], decision: int) -> Tensor:
            vectors = torch.cat([noise.sample_prior(1, generator(seed, decision, draw)) for seed in seeds])
            return noise.expand(vectors if bound is None else vectors.clamp(-bound, bound))

        return act

    return of_draw


def _outcomes(played: Sequence[Evaluation], threshold: float | None) -> Outcomes:
    """What counts as success in each world (rows) and draw (columns)."""
    columns = [np.array(one.returns) >= threshold if one.successes is None else one.successes for one in played]
    return Outcomes(np.array(columns, dtype=bool).T)


def chunk_movement(env: NoiseActionEnv, seeds: Sequence[int], draws: int = MOVES) -> Movement:
    """How far the first chunks of these worlds move over `draws` draws of the actor's noise, against between worlds.

    Variances are averaged over the chunk's steps (and worlds) before the root is taken.
    """
    drawn, bound, looks = torch.Generator().manual_seed(0), env.noise.magnitude, []
    for start in range(0, len(seeds), len(env)):
        part = seeds[start : start + len(env)]
        env.reset(env_id=list(range(len(part))), seeds=part)
        assert env.encoding is not None
        look = env.encoding[torch.arange(len(part))]
        vectors = [env.noise.sample_prior(len(part), drawn).clamp(-bound, bound) for _ in range(draws)]
        looks.append(torch.stack([env.decode(look.features, look.context, w).double() for w in vectors], 1))
    chunks = torch.cat(looks)  # [W, n, T, A]
    over_noise = chunks.var(1, correction=0).mean((0, 1)).sqrt()
    between = chunks.mean(1).var(0, correction=0).mean(0).sqrt()
    return Movement(tuple(over_noise.tolist()), tuple(between.tolist()))


def wilson_of_mean(mean: float, num: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a rate `mean` over `num` trials, which need not be a whole number of hits."""
    z2 = 1.959963984540054**2
    centre = (mean + z2 / (2 * num)) / (1 + z2 / num)
    half = np.sqrt(z2 * (mean * (1 - mean) / num + z2 / (4 * num**2))) / (1 + z2 / num)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
