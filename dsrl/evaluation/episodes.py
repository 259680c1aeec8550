"""Paired evaluation: world i is seed `first_seed + i` for every policy, so two policies meet the same worlds.

seeds -> env.reset -> features -> act(features, seeds, decision) -> noise [n, T', D] -> env.step_noise -> ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.noise_action_env import NoiseActionEnv

Act = Callable[[NDArray[np.float32], Sequence[int], int], Tensor]
"""(features [n, F], seeds of the n worlds, index of the decision) -> the sampler's initial noise [n, T', D]"""


@dataclass(frozen=True)
class Evaluation:
    """What happened in every world; the i-th entries belong to world `seeds[i]`."""

    seeds: tuple[int, ...]
    successes: tuple[bool, ...] | None  # None where the task knows no success
    returns: tuple[float, ...]
    lengths: tuple[int, ...]  # control steps until the world's end
    instructions: tuple[str, ...] = ()  # what was asked for at the start

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Evaluation:
        """The inverse of `plain`."""
        fields: dict[str, Any] = {name: None if values is None else tuple(values) for name, values in plain.items()}
        return cls(**fields)

    def plain(self) -> dict[str, Any]:
        """All of it as lists by name."""
        return {name: None if values is None else list(values) for name, values in vars(self).items()}

    @property
    def score(self) -> float:
        """The success rate, or the mean return where the task knows no success."""
        return float(np.mean(self.returns if self.successes is None else self.successes))

    @property
    def failures(self) -> tuple[int, ...]:
        """The seeds of the worlds without success; none where success is not defined."""
        return tuple(seed for seed, won in zip(self.seeds, self.successes or (), strict=False) if not won)

    def by_instruction(self) -> dict[str, dict[str, Any]]:
        """Sentence -> the figures of its worlds, in the order of the sentences; empty where they were not kept."""
        return {text: self._only(text).summary() for text in sorted(set(self.instructions))}

    def _only(self, text: str) -> Evaluation:
        worlds = [i for i, instruction in enumerate(self.instructions) if instruction == text]
        return Evaluation(
            seeds=tuple(self.seeds[i] for i in worlds),
            successes=None if self.successes is None else tuple(self.successes[i] for i in worlds),
            returns=tuple(self.returns[i] for i in worlds),
            lengths=tuple(self.lengths[i] for i in worlds),
            instructions=(text,) * len(worlds),
        )

    def summary(self) -> dict[str, Any]:
        """The figures of `summary.json`; null where success is not defined."""
        num = len(self.seeds)
        figures: dict[str, Any] = {"successes": None, "episodes": num, "success_rate": None, "ci95": None}
        if self.successes is not None:
            hits = int(sum(self.successes))
            figures |= {"successes": hits, "success_rate": hits / num, "ci95": list(wilson(hits, num))}
        return {**figures, "mean_return": float(np.mean(self.returns)), "mean_length": float(np.mean(self.lengths))}


def wilson(successes: int, episodes: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a success rate."""
    from scipy.stats import binomtest  # seconds to import

    interval = binomtest(successes, episodes).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def paired(base: Evaluation, steered: Evaluation) -> dict[str, Any] | None:
    """On how many worlds which policy succeeded, with the exact (binomial) McNemar p-value; None without success.

    Raises ValueError when the two evaluations met different worlds.
    """
    from scipy.stats import binomtest

    if base.seeds != steered.seeds:
        raise ValueError("the two evaluations met different worlds; evaluate both with the same seed and episodes")
    if base.successes is None or steered.successes is None:
        return None
    before, after = np.array(base.successes), np.array(steered.successes)
    gained, lost = int((~before & after).sum()), int((before & ~after).sum())
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    both, neither = int((before & after).sum()), int((~before & ~after).sum())
    return {"both": both, "only_steered": gained, "only_base": lost, "neither": neither, "p_value": p_value}


class _Actor(Protocol):
    """The part of an algorithm that an evaluation needs."""

    def act(self, features: NDArray[np.float32], normal: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Noise vectors [n, dim] for features [n, F]; a draw, where standard normal numbers [n, dim] are given."""


def base_noise(noise_shape: tuple[int, int]) -> Act:
    """The unsteered policy: independent N(0, I) in every slot, a function of (world, decision) alone."""

    def act(features: NDArray[np.float32], seeds: Sequence[int], decision: int) -> Tensor:
        draws = [torch.randn(noise_shape, generator=generator(seed, decision)) for seed in seeds]
        return torch.stack(draws)

    return act


def prior_noise(noise: Any, *, bounded: bool = True) -> Act:
    """The policy under the actor's own noise: N(0, I) of its parametrisation, clipped to its box where it has one."""
    bound = noise.magnitude if bounded else float("inf")

    def act(features: NDArray[np.float32], seeds: Sequence[int], decision: int) -> Tensor:
        draws = [noise.sample_prior(1, generator(seed, decision)) for seed in seeds]
        expanded: Tensor = noise.expand(torch.cat(draws).clamp(-bound, bound))
        return expanded

    return act


def steered_noise(algorithm: _Actor, noise: Any, *, stochastic: bool) -> Act:
    """The policy under the actor: its mean, or a draw that is a function of (world, decision) alone."""

    def act(features: NDArray[np.float32], seeds: Sequence[int], decision: int) -> Tensor:
        normal = None
        if stochastic:
            normal = torch.cat([noise.sample_prior(1, generator(seed, decision)) for seed in seeds]).numpy()
        expanded: Tensor = noise.expand(torch.as_tensor(algorithm.act(features, normal)))
        return expanded

    return act


@runtime_checkable
class Judge(Protocol):
    """An algorithm that values chunks."""

    def chunk_values(self, features: Tensor, context: Mapping[str, Tensor], vectors: Tensor) -> Tensor:
        """Values [E, B] of the chunks that noise vectors [B, dim] decode to."""


def best_of_noise(env: NoiseActionEnv, judge: Judge, noise: Any, num: int) -> Act:
    """The best of `num` draws of N(0, I) by the least of `judge`'s values of their chunks: no actor is asked.

    The draws are a function of (world, decision) alone. `env` is the one that is evaluated.
    """

    def act(features: NDArray[np.float32], seeds: Sequence[int], decision: int) -> Tensor:
        assert env.encoding is not None
        looks = env.encoding[env.rows_of(seeds).repeat_interleave(num)]
        vectors = torch.cat([noise.sample_prior(num, generator(seed, decision)) for seed in seeds])
        values = judge.chunk_values(looks.features, looks.context, vectors).amin(0).view(len(seeds), num)
        best = values.argmax(1).cpu() + num * torch.arange(len(seeds))
        expanded: Tensor = noise.expand(vectors[best])
        return expanded

    return act


def chosen_noise(
    env: NoiseActionEnv, algorithm: Any, noise: Any, *, best_of: int | None, stochastic: bool | None = None
) -> Act:
    """What an evaluation of `algorithm` in `env` plays: its own noise, or its `best_of` base noises where that is set.

    `stochastic` None leaves it to the algorithm. Raises ValueError where it cannot judge.
    """
    if best_of is not None:
        check_judge(algorithm, best_of)
        return best_of_noise(env, algorithm, noise, best_of)
    return steered_noise(algorithm, noise, stochastic=algorithm.stochastic if stochastic is None else stochastic)


def check_judge(algorithm: Any, best_of: int | None) -> None:
    """Raises ValueError where the best of some noises is asked for and `algorithm` has no values of chunks."""
    if best_of is not None and not isinstance(algorithm, Judge):
        raise ValueError(
            f"best_of={best_of} needs values of chunks to choose by, which {type(algorithm).__name__} does not learn; "
            "choose sac=dsrl_na, or best_of=null"
        )


def evaluate(
    env: NoiseActionEnv,
    act: Act,
    *,
    episodes: int,
    first_seed: int,
    on_progress: Callable[[Evaluation], None] | None = None,
) -> Evaluation:
    """Play the worlds `first_seed … first_seed + episodes - 1`, `len(env)` at a time, one episode each."""
    done = Evaluation((), None, (), ())
    for start in range(first_seed, first_seed + episodes, len(env)):
        seeds = range(start, min(start + len(env), first_seed + episodes))
        done = _join(done, play_worlds(env, act, seeds))
        if on_progress is not None:
            on_progress(done)
    return done


def play_worlds(env: NoiseActionEnv, act: Act, seeds: Sequence[int]) -> Evaluation:
    """One episode in each of the given worlds, at most `len(env)`, side by side in the first rows."""
    num = len(seeds)
    returns, lengths, successes = np.zeros(num), np.zeros(num, dtype=int), np.zeros(num, dtype=bool)
    rows: NDArray[np.int64] = np.arange(num)
    features, info = env.reset(env_id=rows, seeds=seeds)
    instructions = tuple(env.instructions[row] for row in rows)
    decision = 0
    while len(rows):
        noise = act(features, [seeds[row] for row in rows], decision)
        features, reward, terminated, truncated, info = env.step_noise(noise, rows, look_at_truncated=False)
        returns[rows] += reward
        lengths[rows] += [one["env_steps"] for one in info]
        successes[rows] |= [bool(one["success"]) for one in info]
        on = ~(terminated | truncated)
        rows, features, decision = rows[on], features[on], decision + 1
    known = tuple(bool(success) for success in successes) if env.has_success else None
    return Evaluation(tuple(seeds), known, tuple(map(float, returns)), tuple(map(int, lengths)), instructions)


def _join(first: Evaluation, second: Evaluation) -> Evaluation:
    """Both evaluations as one."""
    successes = None if second.successes is None else (first.successes or ()) + second.successes
    return replace(
        first,
        seeds=first.seeds + second.seeds,
        successes=successes,
        returns=first.returns + second.returns,
        lengths=first.lengths + second.lengths,
        instructions=first.instructions + second.instructions,
    )


def generator(seed: int, decision: int, draw: int = 0) -> torch.Generator:
    """An own stream for every (world, decision, draw), whatever the batch that holds it."""
    key = (seed, decision, draw) if draw else (seed, decision)
    state = np.random.SeedSequence(key).generate_state(1, dtype=np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & 0x7FFF_FFFF_FFFF_FFFF)
