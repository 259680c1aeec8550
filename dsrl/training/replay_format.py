"""The format of a transition in replay: the executed chunk, and the data to decode noise at its states again.

    NoiseActionEnv.decision -> Recorder.write -> info.chunk [n, h, A], info.before.stored_*, info.after.stored_*
                        with K draws, info.draws [n, K, dim] and info.draw_chunks [n, K, h, A] replace info.before
    ReplayDecoder.decode_replayed(features, info, "before" | "after", rows, w) -> chunks [n, h, A]

A stored state is the policy's context or, with `replay=observation`, the observation, which is encoded again for every
batch; with `replay=chunks` no state is stored. tianshou takes numpy: torch becomes numpy here, and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl import history
from dsrl.interfaces import Encoding, Observation, Replay
from dsrl.noise_action_env import Decision, NoiseActionEnv

HALVED_FROM = 1024
"""Numbers in a row from which a context tensor is stored in half precision; smaller ones would save nothing."""

LONGEST = 256  # bytes of an instruction in UTF-8
STATE, IMAGE, INSTRUCTION = "state", "image_", "instruction"
PREFIX = "stored_"  # tianshou's batches take no entry that is named like a method, such as `keys`


class Recorder:
    """Writes the executed chunk and both states of each decision into the transition's `info`."""

    def __init__(self, env: NoiseActionEnv, replay: Replay, draws: int = 0) -> None:
        """`replay` is the kind of data that is stored of a state; with `noise` nothing is written.

        `draws` is the number of chunks of the base policy's noise that are decoded and stored with each state.
        """
        self.env, self.replay, self.draws = env, replay, draws

    def write(self, rollout: Any) -> None:
        """Complete tianshou's rollout batch of the environment's latest decision."""
        if self.replay == "noise":
            return
        decision = self.env.decision
        assert decision is not None, "the rollout comes from a step of this environment"
        write_decision(rollout.info, decision, self.replay, self.env, self.draws)


class ReplayDecoder:
    """Decodes noise at live states and at states that replay stores (`dsrl.interfaces.Decoder`)."""

    def __init__(self, env: NoiseActionEnv, replay: Replay) -> None:
        """`replay` is the kind of data that was stored."""
        self.env, self.replay = env, replay

    def decode(self, encoding: Encoding, vectors: Tensor) -> Tensor:
        """Decode noise vectors [B, dim] into executed chunks [B, horizon, A]."""
        return self.env.decode(encoding, vectors)

    def decode_replayed(
        self, features: Tensor, info: Any, when: Literal["before", "after"], rows: Any, vectors: Tensor
    ) -> Tensor:
        """Decode noise vectors [B, dim] at the stored states of `rows`: chunks [B, horizon, A]."""
        entries = info.get(when, {}).items()  # empty for policies without a context
        stored = {key.removeprefix(PREFIX): torch.as_tensor(value[rows]) for key, value in entries}
        if self.replay == "observation":
            return self.env.reencode(observation_from(stored), vectors)
        return self.env.decode(Encoding(features, stored), vectors)


def write_decision(info: Any, decision: Decision, replay: Replay, env: NoiseActionEnv, draws: int) -> None:
    """Write the chunk and both states of a decision into tianshou's `info`.

    With `draws` > 0, chunks of so many base noises, drawn from torch's global generator, replace the state before.
    """
    info.chunk = decision.chunk.float().cpu().numpy()
    states = [("after", decision.after, decision.observed_after)]
    if draws:
        info.draws, info.draw_chunks = decoded_draws(env, decision.before, draws)
    else:
        states.append(("before", decision.before, decision.observed_before))
    for when, encoding, observation in states:
        arrays = stored_arrays(encoding, observation, replay)
        if arrays:
            info[when] = type(info)({PREFIX + key: array for key, array in arrays.items()})


def decoded_draws(env: NoiseActionEnv, encoding: Encoding, num: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw `num` noise vectors from N(0, I) for each of n encodings and decode them once.

    Returns vectors [n, num, dim] and chunks [n, num, horizon, A].
    """
    states = len(encoding.features)
    vectors = torch.randn(states * num, env.noise.dim)
    chunks = env.decode(encoding[torch.arange(states).repeat_interleave(num)], vectors)
    return vectors.view(states, num, -1).numpy(), chunks.view(states, num, *env.chunk_shape).numpy()


def stored_arrays(encoding: Encoding, observation: Observation, replay: Replay) -> dict[str, NDArray[Any]]:
    """Return the arrays that `replay` stores of a state.

    Raises FloatingPointError where half precision cannot hold a number.
    """
    if replay == "chunks":
        return {}
    if replay == "observation":
        return {key: value.numpy() for key, value in observation_tensors(observation).items()}
    return {key: _array(key, value, replay) for key, value in encoding.context.items()}


def observation_tensors(observation: Observation) -> dict[str, Tensor]:
    """Return an observation as tensors by name, batch first. Raises ValueError for an instruction that is too long."""
    images = {f"{IMAGE}{camera}": image.cpu() for camera, image in observation.images.items()}
    sentences = torch.stack([_bytes(sentence) for sentence in observation.instruction])
    return {STATE: observation.state.float().cpu(), **images, INSTRUCTION: sentences}


def observation_from(tensors: Mapping[str, Tensor]) -> Observation:
    """Restore `observation_tensors`."""
    images = {name.removeprefix(IMAGE): image for name, image in tensors.items() if name.startswith(IMAGE)}
    sentences = tuple(bytes(row.tolist()).rstrip(b"\0").decode() for row in tensors[INSTRUCTION])
    return Observation(tensors[STATE], images, sentences)


def _array(key: str, value: Tensor, replay: Replay) -> NDArray[Any]:
    if not value.is_floating_point():
        return value.cpu().numpy()
    if replay == "context" and value[0].numel() >= HALVED_FROM:
        halved = value.half()
        if not torch.isfinite(halved).all():
            raise FloatingPointError(
                f"context {key!r} has numbers that half precision cannot hold; choose sac.replay=exact_context"
            )
        return halved.cpu().numpy()
    return (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()


def _bytes(sentence: str) -> Tensor:
    encoded = sentence.encode()
    if len(encoded) > LONGEST:
        raise ValueError(
            f"an instruction of {len(encoded)} bytes exceeds the {LONGEST} that sac.replay=observation stores; "
            "choose sac.replay=context"
        )
    return torch.tensor(list(encoded.ljust(LONGEST, b"\0")), dtype=torch.uint8)


def blank_observation(env: NoiseActionEnv) -> Observation:
    """Return one observation of zeros [1, ...] with the task's cameras and state size."""
    images = {name: torch.zeros(1, *shape, dtype=torch.uint8) for name, shape in env.task.cameras.items()}
    one = Observation(torch.from_numpy(np.zeros((1, env.task.state_dim), np.float32)), images, ("",))
    return history.join([one] * history.length(env.policy))
