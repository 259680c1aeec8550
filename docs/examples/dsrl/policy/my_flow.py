"""A flow network of your own, frozen: velocity(state, x, time) integrated from noise (time 0) to a chunk (time 1)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dsrl.interfaces import Encoding, Observation, Task
from dsrl.policy._weights import weights_sha256

CHUNK = (8, 2)  # T actions of A numbers
HIDDEN = 64


def velocity_network(state_dim: int) -> nn.Sequential:
    """Makes the network that the weights belong to: (state, x, time) to the velocity of x."""
    numbers = CHUNK[0] * CHUNK[1]
    return nn.Sequential(nn.Linear(state_dim + numbers + 1, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, numbers))


class MyFlow:
    """Features are the state; a chunk is the end of `num_steps` Euler steps that begin at the noise."""

    noise_shape = chunk_shape = CHUNK  # here the sampler takes as many numbers as it returns

    def __init__(self, path: str, state_dim: int, num_steps: int) -> None:
        """Loads the weights in the safetensors file `path`; raises FileNotFoundError where there is none."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"policy.path={path} does not exist; type the path of a safetensors file")
        self.feature_dim, self._num_steps = state_dim, num_steps
        self._network = velocity_network(state_dim)
        self._network.load_state_dict(load_file(path))
        self._network.requires_grad_(False).eval()

    def encode(self, observation: Observation) -> Encoding:
        """Returns features [B, S] for the actor; `context` may hold any batch-first tensors that `decode` needs."""
        return Encoding(features=observation.state, context={})

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Returns the chunk [B, T, A] of noise [B, T, A]: the same noise always gives the same chunk."""
        x = noise.flatten(1)
        for i in range(self._num_steps):
            time = torch.full((len(x), 1), i / self._num_steps)
            x = x + self._network(torch.cat([encoding.features, x, time], 1)) / self._num_steps
        return x.view(noise.shape).clamp(-1.0, 1.0)

    def check_fits(self, task: Task) -> None:
        """Raises ValueError where the task's state or action has another size than the policy's."""
        ours, theirs = (self.feature_dim, CHUNK[1]), (task.state_dim, task.action_dim)
        if ours != theirs:
            raise ValueError(f"policy=my_flow has a state and an action of {ours} numbers but the task's have {theirs}")

    def policy_sha256(self) -> str:
        """Returns the digest of the weights: a run checks that steering never changed them."""
        return weights_sha256(self._network)
