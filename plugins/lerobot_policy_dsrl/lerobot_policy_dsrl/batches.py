"""Batches of lerobot as dsrl's tasks observe them, checked against the task that the exported policy was steered on.

observation.state [B, S1], observation.environment_state [B, S2]           ->   state [B, S1 + S2]
observation.images.<camera> [B, 3, H, W], uint8 or in [0, 1]               ->   images[camera] uint8 [B, 3, H, W]
task: B sentences, or one for all                                          ->   instruction
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from dsrl.interfaces import Observation
from dsrl.run.exported import Described
from dsrl.run.terminal.errors import UserError
from dsrl.training.lerobot_columns import image_keys

STATES = ("observation.state", "observation.environment_state")  # in the order of dsrl's tasks
IMAGE, SENTENCES = "observation.image", "task"


def over_time(batch: dict[str, Any], num: int, cameras: Collection[str]) -> list[dict[str, Any]]:
    """Split a batch of `num` consecutive control steps, [B, num, ...], oldest first, into one for each of them.

    A batch without that axis is one of a single control step. Raises UserError where not every state and image of
    `cameras` has as many.
    """
    ranks = dict.fromkeys(STATES, 2) | {key: 4 for key in _images(batch) if _camera(key) in cameras}
    read = {key: batch[key] for key in ranks if key in batch}
    if num == 1 or all(one.ndim <= ranks[key] for key, one in read.items()):
        return [batch]
    for key, one in read.items():
        if one.ndim != ranks[key] + 1 or one.shape[1] != num:
            raise UserError(
                f"{key} has the shape {list(one.shape)} but this policy looks at {num} observations; give every state "
                f"and image those of the latest {num} control steps, [B, {num}, ...], oldest first"
            )
    return [batch | {key: one[:, i] for key, one in read.items()} for i in range(num)]


def taken(batch: dict[str, Any], task: Described, cameras: Collection[str]) -> dict[str, Any]:
    """Return the entries of a batch that a policy reads: states, images of `cameras`, and sentences.

    Raises UserError where one is missing (sentences if `task` gave them), has another shape than on `task`, or is of
    another number of worlds.
    """
    states = {key: batch[key] for key in STATES if key in batch}
    images = {key: batch[key] for key in _images(batch) if _camera(key) in cameras}
    _check_states(states, task.state_dim)
    _check_images(images, task, cameras, _images(batch))
    sentences = batch.get(SENTENCES) or ""
    if task.has_sentences and not (sentences and all(sentences)):
        raise UserError(
            f"the batch has no {SENTENCES} but this policy reads a sentence for every world; give it those of "
            f"the run's task, such as batch[{SENTENCES!r}] = [sentence] * B"
        )
    parts = states | images | ({} if isinstance(sentences, str) else {SENTENCES: list(sentences)})
    if len({len(part) for part in parts.values()}) > 1:
        found = ", ".join(f"{len(part)} in {key}" for key, part in parts.items())
        raise UserError(f"the batch differs in its number of worlds ({found}); give every key the same number")
    return {**parts, SENTENCES: sentences}


def num_worlds(parts: dict[str, Any]) -> int:
    """Return the number of worlds B of what `taken` returned."""
    return next(len(part) for key, part in parts.items() if key != SENTENCES)


def to_observation(batch: dict[str, Any]) -> Observation:
    """Return a batch as dsrl's tasks observe it.

    Raises UserError for a state that is not finite, and for images of other types or ranges.
    """
    states = {key: batch[key].float() for key in STATES if key in batch}
    for key, state in states.items():
        if not torch.isfinite(state).all():
            raise UserError(f"{key} is not finite (NaN or infinity); check what reads it and the processors before")
    images = {_camera(key): _as_bytes(key, batch[key]) for key in _images(batch)}
    num = num_worlds({**states, **images})
    state = torch.cat([*states.values()], dim=1) if states else torch.zeros(num, 0)
    sentences = batch.get(SENTENCES) or [""] * num
    sentences = [sentences] * num if isinstance(sentences, str) else list(sentences)
    return Observation(state, images, tuple(str(sentence) for sentence in sentences))


def _check_states(states: dict[str, Tensor], state_dim: int) -> None:
    expected = _batched([state_dim])
    if state_dim and not states:
        raise UserError(f"the batch has no {STATES[0]} but this policy takes one of the shape {expected}; give it that")
    for key, state in states.items():
        if state.ndim != 2:
            raise UserError(
                f"{key} has the shape {list(state.shape)} but this policy takes {expected}, one row for each world; "
                "pass observations of a single world through the policy's preprocessor, which adds B"
            )
    if states and sum(state.shape[1] for state in states.values()) != state_dim:
        found = " and ".join(f"{key} of the shape {list(state.shape)}" for key, state in states.items())
        raise UserError(
            f"the batch has {found} but this policy takes {expected} in all; give it the state that it was steered on"
        )


def _check_images(images: dict[str, Tensor], task: Described, cameras: Collection[str], found: Collection[str]) -> None:
    names = image_keys(task.cameras)
    missing = [names[camera] for camera in cameras if camera not in map(_camera, images)]
    if missing:
        have = f"only {', '.join(found)}" if found else "nor any other image"
        raise UserError(f"the batch has no {missing[0]}, {have}, but this policy sees it; give it under that name")
    for key, image in images.items():
        expected = list(task.cameras[_camera(key)])
        if image.ndim != 4 or list(image.shape[1:]) != expected:
            raise UserError(
                f"{key} has the shape {list(image.shape)} but this policy was steered on {_batched(expected)}; "
                f"give it images of {expected[1]} x {expected[2]} pixels, one for each world"
            )


def _as_bytes(key: str, image: Tensor) -> Tensor:
    """Undo lerobot's division by 255 exactly: [B, 3, H, W] in [0, 1] -> uint8."""
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        raise UserError(f"{key} is of type {image.dtype}; give it as torch.uint8, or as torch.float32 in [0, 1]")
    scaled = (image * 255).round()
    if not ((scaled >= 0) & (scaled <= 255)).all():  # nor NaN
        found = f"{image.min().item():g} to {image.max().item():g}"
        raise UserError(f"{key} has numbers of {found} but floats are in [0, 1]; divide by 255, or give torch.uint8")
    return scaled.to(torch.uint8)


def _images(batch: dict[str, Any]) -> list[str]:
    return sorted(key for key in batch if key.startswith(IMAGE))


def _batched(shape: list[int]) -> str:
    return f"[B, {', '.join(map(str, shape))}]"


def _camera(key: str) -> str:
    return key.removeprefix("observation.images.").removeprefix("observation.")
