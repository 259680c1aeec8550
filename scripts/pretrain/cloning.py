"""Chooses frames of demonstrations and minimises a cloning loss on them, for any policy."""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LossOf = Callable[[Any, Tensor], Tensor]  # (policy, rows [B]) -> scalar
HeldOut = Callable[[Any], float]


def choose_frames(
    lengths: NDArray[np.int64], starts: NDArray[np.int64], chunk: int, extra: int | None, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return per episode, the frames at which a policy that executes whole chunks decides, and `extra` random others.

    `extra` None takes all.
    """
    chosen = []
    for length, start in zip(lengths, starts, strict=True):
        decisions = np.arange(0, length, chunk)
        others = np.setdiff1d(np.arange(length), decisions)
        chosen.append(start + np.concatenate([decisions, generator.permutation(others)[:extra]]))
    return chosen


def hold_out(
    frames: list[NDArray[np.int64]], share: float, generator: np.random.Generator
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Return the frames of a random `share` of episodes, one at least, and those of the others.

    Raises ValueError where no episode is left to learn from.
    """
    check_several(len(frames))
    order, num = generator.permutation(len(frames)), max(1, round(share * len(frames)))
    if num >= len(frames):
        raise ValueError(f"--held-out {share} leaves no episode of {len(frames)} to learn from; lower it")
    return [frames[i] for i in order[:num]], [frames[i] for i in order[num:]]


def check_several(num_episodes: int) -> None:
    """Raise ValueError where there is no episode to hold out besides one to learn from."""
    if num_episodes < 2:
        raise ValueError(
            f"--dataset has {num_episodes} episode but one is held out and another learnt from; record two episodes or "
            "more"
        )


def learn(policy: Any, loss_of: LossOf, num_clips: int, held_out: HeldOut, options: argparse.Namespace) -> Any:
    """Minimise a loss; returns the running average of the weights at the lowest held-out loss.

    `options` has rate (the peak of a one-cycle cosine), steps, batch and evaluate_every. Long training memorises the
    error of each demonstration, and noise then no longer selects among them.

    Raises ValueError where a loss is not finite.
    """
    from torch.optim.swa_utils import AveragedModel

    trainable = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=options.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.rate, total_steps=max(options.steps, 100), pct_start=0.05
    )
    average = AveragedModel(policy, avg_fn=lambda old, new, _: old + 0.002 * (new - old))
    policy.train()
    started, running, best, lowest = time.perf_counter(), 0.0, average.module, float("inf")
    for step, rows in enumerate(_shuffled(num_clips, options.batch, options.steps)):
        loss: Any = loss_of(policy, rows)
        value = loss.item()
        _check_finite(value, f"loss of step {step + 1}")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(policy)
        running = value if step == 0 else 0.98 * running + 0.02 * value
        if (step + 1) % options.evaluate_every == 0 or step + 1 == options.steps:
            outside = held_out(average.module)
            _check_finite(outside, f"held-out loss after step {step + 1}")
            elapsed = time.perf_counter() - started
            if outside < lowest:
                best, lowest = copy.deepcopy(average.module), outside
            print(f"step {step + 1}  loss {running:.4f}  held-out {outside:.4f}  {elapsed:.0f} s", flush=True)
    return best


def _check_finite(value: float, name: str) -> None:
    if not math.isfinite(value):
        raise ValueError(f"the {name} is {value}; type a lower --rate, or remove the dataset's implausible numbers")


def held_out_loss(policy: Any, loss_of: LossOf, num_clips: int, batch: int) -> float:
    """Return the loss on held-out frames, always under the same noise and times."""
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    used = range(torch.cuda.device_count()) if started else ()
    with torch.random.fork_rng(devices=used), torch.no_grad():
        torch.manual_seed(0)
        losses = [loss_of(policy, rows).item() for rows in torch.split(torch.arange(num_clips), batch)]
    return float(np.mean(losses))


def _shuffled(count: int, batch: int, steps: int) -> Iterator[Tensor]:
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(count)])
        yield order[:batch]
        order = order[batch:]
