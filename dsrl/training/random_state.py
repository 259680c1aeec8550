"""What a training loop needs to go on exactly where it was, besides its own counts: replay, worlds, randomness.

Everything becomes tensors and plain values. At an episode border worlds are their seeds; in mid-episode they are what
the task tells of them (`Restorable`), and a task that tells nothing starts new episodes.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from tianshou.data import Batch, Collector
from torch import Tensor

from dsrl.interfaces import Encoding, Observation, Restorable
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.files import Tree
from dsrl.training.replay_buffer import Replay


def replay(buffer: Replay) -> Tree:
    """All transitions of the worlds, whatever an algorithm keeps of them, and where each world's part goes on.

    What was recorded elsewhere is not among them: it is read again.
    """
    parts = [
        {
            "size": part._size,
            "insertion": part._insertion_idx,
            "last": int(part.last_index[0]),
            "episode": (float(part._ep_return), int(part._ep_len), int(part._ep_start_idx)),
        }
        for part in buffer.buffers[: buffer.num_envs]
    ]
    rows = len(buffer) and _tensors(buffer._meta[buffer.played].to_dict())
    return {"rows": rows or {}, "part_size": buffer.buffers[0].maxsize, "parts": parts}


def restore_replay(buffer: Replay, state: Tree) -> None:
    """Fill a buffer in which no world has played. Raises ValueError for one of another size."""
    part_size = buffer.buffers[0].maxsize
    if (state["part_size"], len(state["parts"])) != (part_size, buffer.num_envs):
        raise ValueError(
            f"replay has {buffer.num_envs} parts of {part_size} transitions but the checkpoint's has "
            f"{len(state['parts'])} of {state['part_size']}; give num_envs, decisions and buffer_size as they were"
        )
    if state["rows"]:
        played, recorded = Batch(_arrays(state["rows"])), slice(buffer.played.stop, None)
        buffer.set_batch(Batch.cat([played, buffer._meta[recorded]]) if buffer.maxsize > buffer.played.stop else played)
    for i, (part, former) in enumerate(zip(buffer.buffers, state["parts"], strict=False)):
        part._size, part._insertion_idx = former["size"], former["insertion"]
        part.last_index = np.array([former["last"]])
        part._ep_return, part._ep_len, part._ep_start_idx = former["episode"]
        buffer._lengths[i] = former["size"]
        buffer.last_index[i] = buffer._offset[i] + former["last"]


def worlds(env: NoiseActionEnv, *, border: bool) -> Tree:
    """The worlds of `env`; at a `border`, when all have just been reset, their seeds say everything."""
    task = env.task.state() if isinstance(env.task, Restorable) and not border else None
    if border or task is None:
        return {"border": border, "seeds": env.seeds.tolist(), "task": None}
    assert env.encoding is not None
    assert env.seen is not None
    return {
        "border": False,
        "seeds": env.seeds.tolist(),
        "task": task,
        "features": env.encoding.features,
        "context": dict(env.encoding.context),
        "instructions": list(env.instructions),
        "seen": [env.seen.state, dict(env.seen.images), list(env.seen.instruction)],
    }


def restore_worlds(env: NoiseActionEnv, collector: Collector[Any], state: Tree) -> bool:
    """Bring the worlds back and let the collector go on in them. False where new episodes had to begin.

    Restore randomness afterwards, and before where it returns False: new episodes draw their seeds.
    """
    if state["task"] is None:
        collector.reset_env({"seeds": state["seeds"]} if state["border"] else None)
        return bool(state["border"])
    assert isinstance(env.task, Restorable)
    env.reset(seeds=state["seeds"])  # a simulator must have been started before it can be set
    env.task.set_state(state["task"])
    assert env.encoding is not None
    device = env.encoding.features.device
    context = {key: value.to(device) for key, value in state["context"].items()}
    env.encoding = Encoding(state["features"].to(device), context)
    env.instructions = list(state["instructions"])
    seen, images, sentences = state["seen"]
    env.seen = Observation(seen, images, tuple(sentences))
    info = [{"success": False, "env_steps": 0, "seed": seed} for seed in state["seeds"]]
    collector._pre_collect_obs_RO = state["features"].float().cpu().numpy()
    collector._pre_collect_info_R = np.array(info, dtype=object)
    collector._pre_collect_hidden_state_RH = None
    return True


def is_exact(loop: Tree) -> bool:
    """Whether a loop goes on to the last bit from what it told: its worlds could be told, or none was at play."""
    state = loop.get("worlds")
    return state is None or state["border"] or state["task"] is not None


def start_randomness(seed: int, env: NoiseActionEnv) -> None:
    """Seed every generator that play and learning draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    env.seed(seed)


def randomness(env: NoiseActionEnv, buffer: Replay | None = None) -> Tree:
    """The state of every generator that play and learning draw from."""
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
        "numpy": _tensors(np.random.get_state(legacy=False)),
        "python": [version, torch.tensor(words), gauss],
        "seed_stream": env.seed_stream.bit_generator.state,
        "action_space": env.action_space.np_random.bit_generator.state,
        "buffer": [_tensors(part._random_state.get_state(legacy=False)) for part in _parts(buffer)],
    }


def restore_randomness(state: Tree, env: NoiseActionEnv, buffer: Replay | None = None) -> None:
    """Let every generator go on where it was."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    np.random.set_state(_arrays(state["numpy"]))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    env.seed_stream.bit_generator.state = state["seed_stream"]
    env.action_space.np_random.bit_generator.state = state["action_space"]
    for part, former in zip(_parts(buffer), state["buffer"], strict=True):
        part._random_state.set_state(_arrays(former))


def _parts(buffer: Replay | None) -> list[Any]:
    return [] if buffer is None else [buffer, *buffer.buffers]


def _tensors(node: Any) -> Tree:
    """The arrays in nested dicts as tensors of the same memory."""
    if isinstance(node, dict):
        return {key: _tensors(value) for key, value in node.items()}
    return torch.from_numpy(node) if isinstance(node, np.ndarray) else node


def _arrays(node: Tree) -> Any:
    """The inverse of `_tensors`, in memory of its own."""
    if isinstance(node, dict):
        return {key: _arrays(value) for key, value in node.items()}
    return node.numpy().copy() if isinstance(node, Tensor) else node
