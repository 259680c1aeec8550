"""Clones a careless operator into weights for policy=my_flow: python make_my_flow.py my_flow.safetensors 3000

The operator stops short of far goals and wavers: it aims at `REACH` times the goal, plus noise, anew for every chunk.
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file

from dsrl.policy.my_flow import CHUNK, velocity_network
from dsrl.task.reach import SPEED

REACH = 0.6  # of the goal's distance from the middle, so that the operator's mean (w = 0) misses far goals
CARELESSNESS = 0.5  # standard deviation of the point that the operator aims at
BATCH = 256


def main(path: str, steps: int) -> None:
    """Trains the velocity network by `steps` steps of flow matching and writes its weights to `path`."""
    torch.manual_seed(0)
    network = velocity_network(state_dim=4)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(steps):
        state = 2 * torch.rand(BATCH, 4) - 1
        way = REACH * state[:, 2:] + CARELESSNESS * torch.randn(BATCH, 2) - state[:, :2]
        chunk = (way / (CHUNK[0] * SPEED))[:, None].expand(-1, *CHUNK).flatten(1)
        noise, time = torch.randn_like(chunk), torch.rand(BATCH, 1)
        velocity = network(torch.cat([state, (1 - time) * noise + time * chunk, time], 1))
        loss = (velocity - (chunk - noise)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    save_file(network.state_dict(), path)
    print(f"loss {loss.item():.3f}, weights in {path}")


if __name__ == "__main__":
    main(sys.argv[1], steps=int(sys.argv[2]))
