"""Observations as tensors by name, as replay keeps them, and back.

Observation  <->  {"seen_state": [B, S], "seen_image_<camera>": uint8 [B, 3, H, W], "seen_instruction": uint8 [B, 256]}
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dsrl.interfaces import Observation

LONGEST = 256  # bytes of an instruction in UTF-8
STATE, IMAGE, INSTRUCTION = "seen_state", "seen_image_", "seen_instruction"


def tensors_of(observation: Observation) -> dict[str, Tensor]:
    """All of it as tensors, batch first. Raises ValueError for an instruction that is too long to keep."""
    images = {f"{IMAGE}{camera}": image.cpu() for camera, image in observation.images.items()}
    sentences = torch.stack([_bytes(sentence) for sentence in observation.instruction])
    return {STATE: observation.state.float().cpu(), **images, INSTRUCTION: sentences}


def is_observation(kept: Mapping[str, Tensor]) -> bool:
    """Whether what is kept of a look is the observation, rather than the policy's context."""
    return STATE in kept


def observation_of(kept: Mapping[str, Tensor]) -> Observation:
    """The inverse of `tensors_of`."""
    images = {name.removeprefix(IMAGE): image for name, image in kept.items() if name.startswith(IMAGE)}
    sentences = tuple(bytes(row.tolist()).rstrip(b"\0").decode() for row in kept[INSTRUCTION])
    return Observation(kept[STATE], images, sentences)


def joined(parts: list[Observation]) -> Observation:
    """The observations of several batches as one."""
    images = {camera: torch.cat([part.images[camera] for part in parts]) for camera in parts[0].images}
    sentences = tuple(sentence for part in parts for sentence in part.instruction)
    return Observation(torch.cat([part.state for part in parts]), images, sentences)


def _bytes(sentence: str) -> Tensor:
    encoded = sentence.encode()
    if len(encoded) > LONGEST:
        raise ValueError(
            f"an instruction of {len(encoded)} bytes is longer than the {LONGEST} that sac.replay=observation keeps; "
            "choose sac.replay=context"
        )
    return torch.tensor(list(encoded.ljust(LONGEST, b"\0")), dtype=torch.uint8)
