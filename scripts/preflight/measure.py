"""Plays the frozen policy in the same worlds under several noises, several draws of each.

    worlds x noises x draws -> scores [W, n]         cost of the actor's noise, and the score of its best draw
    worlds x draws of w     -> chunks [W, n, T, A]   standard deviation of chunks over noise

Draw 0 of a world is the noise of train.py's own base evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from dsrl.evaluation.episodes import evaluate
from dsrl.evaluation.noise_choice import smooth_ranks
from dsrl.evaluation.noise_sources import Act, base_noise, prior_noise
from dsrl.evaluation.outcomes import Outcomes, outcomes_of
from dsrl.interfaces import Noise
from dsrl.noise._steered import SteeredNoise
from dsrl.noise_action_env import NoiseActionEnv

BASE, STILL = "full", "w = 0"  # independent N(0, I) in every slot, as in the policy's training; its mean
MOVEMENT_DRAWS = 16  # of w for each world's chunks


@dataclass(frozen=True)
class Movement:
    """Standard deviations per action dimension [A] of the worlds' first chunks, in action units."""

    over_noise: tuple[float, ...]  # within a world, over draws of the actor's noise
    between_worlds: tuple[float, ...]  # of the worlds' mean chunks

    @property
    def relative(self) -> tuple[float, ...]:
        """`over_noise` / `between_worlds`; 0 where both are 0, inf where only the latter is."""
        pairs = zip(self.over_noise, self.between_worlds, strict=True)
        return tuple(noise / worlds if worlds > 0 else float("inf") if noise > 0 else 0.0 for noise, worlds in pairs)


@dataclass(frozen=True)
class Preflight:
    """All measurements."""

    first_seed: int
    noise: str  # the parametrisation that training would use; its clipped row is `actor`
    magnitude: float
    outcomes: Mapping[str, Outcomes]  # by noise, BASE first
    movement: Movement
    dims: Mapping[str, int]  # by noise, how many numbers the actor chooses
    restricted: bool  # whether `noise` steers a part of the dimensions, unlike the others
    threshold: float | None = None  # the return that counts as success, where one was requested

    @property
    def actor(self) -> str:
        """The row of the noise that the actor can choose."""
        return clipped_name(self.noise, self.magnitude)

    @property
    def repeated(self) -> bool:
        """Whether seeds repeated the worlds in all rows."""
        return all(outcomes.repeated for outcomes in self.outcomes.values())


def clipped_name(noise: str, magnitude: float) -> str:
    """Return the name of the row of `noise` clipped to ±magnitude."""
    return f"{noise} ±{magnitude:g}"


def noises(chosen: Noise, noise_shape: tuple[int, int], horizon: int, first_slot: int = 0) -> dict[str, Noise]:
    """Return the parametrisations to compare: full, repeat, those between, and `chosen` under its own name.

    Those besides `chosen` get its magnitude, in all dimensions. `per_step` is among them where `horizon`, the executed
    steps of a chunk, is below the number of slots; `first_slot` is that of a chunk's first action.
    """
    from dsrl.noise.full import FullNoise
    from dsrl.noise.per_step import PerStepNoise
    from dsrl.noise.repeat import RepeatNoise
    from dsrl.noise.smooth import SmoothNoise

    name = type(chosen).__module__.rpartition(".")[2]  # the choice, its YAML and its module have the same name
    if isinstance(chosen, SmoothNoise):
        name = smooth_name(chosen.rank)
    others: dict[str, Noise] = {
        BASE: FullNoise(noise_shape, chosen.magnitude, None),
        "repeat": RepeatNoise(noise_shape, chosen.magnitude, None),
    }
    for rank in smooth_ranks(noise_shape[0]):
        others[smooth_name(rank)] = SmoothNoise(noise_shape, chosen.magnitude, None, rank, "zero")
    if horizon < noise_shape[0]:
        executed = range(first_slot, first_slot + horizon)
        others["per_step"] = PerStepNoise(noise_shape, chosen.magnitude, None, "executed", "fresh", executed)
    return {**others, name: chosen}


def smooth_name(rank: int) -> str:
    """Return the name of the row of smooth noise."""
    return f"smooth {rank}"


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
    """Play worlds `first_seed …` under N(0, I), under each of `noises` clipped to its magnitude, and at w = 0.

    Repeated noise and `env.noise` are played unclipped too: the cost of a parametrisation without that of clipping.
    `env.noise` is one of `noises`; clipped, it gets `draws` draws per world, w = 0 gets one, all other rows
    `other_draws`. The base policy's row is its own noise, whatever `noises["full"]` restricts. `on_row` is called after
    each row. Where the task defines no success, a return of `threshold` or more counts as one; None compares returns.
    """
    chosen = next(name for name, noise in noises.items() if noise is env.noise)
    actor = clipped_name(chosen, env.noise.magnitude)
    outcomes: dict[str, Outcomes] = {}
    for name, act in _rows(env, noises, chosen).items():
        num = draws if name == actor else 1 if name == STILL else other_draws
        played = [evaluate(env, act(draw), episodes=worlds, first_seed=first_seed) for draw in range(num)]
        outcomes[name] = outcomes_of(played, threshold)
        on_row(name, outcomes[name])
    movement = chunk_movement(env, range(first_seed, first_seed + worlds))
    dims = {name: noise.dim for name, noise in noises.items()}
    restricted = isinstance(env.noise, SteeredNoise) and env.noise.steered[1] < env.policy.noise_shape[1]
    return Preflight(first_seed, chosen, env.noise.magnitude, outcomes, movement, dims, restricted, threshold)


def _rows(env: NoiseActionEnv, noises: Mapping[str, Noise], chosen: str) -> dict[str, Callable[[int], Act]]:
    """Return by row a function from the index of a draw to its noise."""
    rows: dict[str, Callable[[int], Act]] = {BASE: partial(base_noise, env.policy.noise_shape)}
    unclipped = [name for name in noises if name != BASE and name in ("repeat", chosen)]
    rows |= {name: partial(prior_noise, noises[name], math.inf) for name in unclipped}
    for name, noise in noises.items():
        rows[clipped_name(name, noise.magnitude)] = partial(prior_noise, noise, noise.magnitude)
    rows[STILL] = partial(prior_noise, env.noise, 0.0)
    return rows


def chunk_movement(env: NoiseActionEnv, seeds: Sequence[int], draws: int = MOVEMENT_DRAWS) -> Movement:
    """Return standard deviations of the first chunks over `draws` draws of the actor's noise and between worlds.

    Variances are averaged over the chunk's steps (and worlds) before the root is taken.
    """
    drawn, bound, parts = torch.Generator().manual_seed(0), env.noise.magnitude, []
    for start in range(0, len(seeds), len(env)):
        part = seeds[start : start + len(env)]
        env.reset_worlds(torch.arange(len(part)), part)
        assert env.encoding is not None
        encoding = env.encoding[torch.arange(len(part))]
        vectors = [env.noise.sample_prior(len(part), drawn).clamp(-bound, bound) for _ in range(draws)]
        parts.append(torch.stack([env.decode(encoding, w).double() for w in vectors], 1))
    chunks = torch.cat(parts)  # [W, n, T, A]
    over_noise = chunks.var(1, correction=0).mean((0, 1)).sqrt()
    between = chunks.mean(1).var(0, correction=0).mean(0).sqrt()
    return Movement(tuple(over_noise.tolist()), tuple(between.tolist()))
