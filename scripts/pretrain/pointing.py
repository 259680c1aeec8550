"""The pointing stage: renders reset worlds and trains the small VLM to predict where the named cube lies."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model
from torch import Tensor, nn

from dsrl.policy._checkpoint_files import MIB, check_shapes, file_inside, read_shapes
from dsrl.task._tabletop import COLOURS
from dsrl.task.simple_pick import SimplePick
from scripts._demonstration_worlds import demonstration_world
from scripts.pretrain.small_smolvla import IMAGE_SIZE, PointingHead, make_small_smolvla, state_token_values

_CENTRE, _HALF = torch.tensor([0.555, 0.0]), torch.tensor([0.105, 0.20])  # m, of the cubes' area
_EVALUATE_EVERY = 250  # steps


def render_worlds(scenes: int, num_envs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images uint8 [N, cameras, 3, H, W] of reset worlds and cube coordinates [N, 3, 2], scaled to ±1."""
    task = SimplePick(num_envs, "hand", "sparse", 24, IMAGE_SIZE, "cpu")
    images, cubes = [], []
    for start in range(0, scenes, num_envs):
        task.reset(torch.arange(num_envs), [demonstration_world(seed, start + i) for i in range(num_envs)])
        images.append(torch.stack(list(task.observe().images.values()), dim=1))
        cubes.append((task.cube_positions()[..., :2] - _CENTRE) / _HALF)
    return torch.cat(images), torch.cat(cubes)


class Pointing:
    """The policy, its pointing head and the loss of both."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.head = PointingHead(96, len(COLOURS))
        self.trained = [*policy.model.vlm_with_expert.vlm.parameters(), *policy.model.state_proj.parameters()]
        tokenizer = policy.model.vlm_with_expert.processor.tokenizer
        sentences = [f"{sentence}\n" for sentence in SimplePick.instructions]
        encoded = tokenizer(sentences, padding="longest", return_tensors="pt")
        self._tokens, self._masks = encoded["input_ids"], encoded["attention_mask"].bool()

    def errors(self, images: Tensor, cubes: Tensor, named: Tensor) -> tuple[Tensor, Tensor]:
        """Return errors [B, 2] of the named cubes and [B, 6] of all, scaled to ±1; named: int [B], the colour."""
        views = [images[:, i].float() / 127.5 - 1 for i in range(images.shape[1])]
        state = torch.randn(len(images), 4)  # a cube's place must not depend on the arm
        values = state_token_values(self.policy, views, self._tokens[named], self._masks[named], state)
        error = self.head.named(values) - cubes[torch.arange(len(cubes)), named]
        return error, self.head.all(values) - cubes.flatten(1)

    @torch.no_grad()
    def distances(self, images: Tensor, cubes: Tensor) -> Tensor:
        """Return distances [B] (m) between predicted and true places, for colours in turn."""
        error, _ = self.errors(images, cubes, torch.arange(len(images)) % len(COLOURS))
        distances: Tensor = (error * _HALF).norm(dim=1)
        return distances


def learn_to_point(images: Tensor, cubes: Tensor, options: argparse.Namespace, out: Path) -> None:
    """Train a new small SmolVLA, or the one in `options.init`, and write it into `out`.

    Raises ValueError where the weights in `options.init` are not those of this policy.
    """
    torch.manual_seed(options.seed)
    policy = make_small_smolvla(out, ("front", "wrist"), state_dim=4, action_dim=4)
    if options.init is not None:
        weights = file_inside(options.init, "model.safetensors")
        check_shapes(weights, read_shapes(weights, 64 * MIB), policy)
        load_model(policy, weights)
    policy.train()
    for parameter in policy.parameters():
        parameter.requires_grad_(True)
    pointing = Pointing(policy)
    _minimise(pointing, images, cubes, options)
    policy.config.vlm_model_name = "vlm"  # relative, so that the folder can move
    policy.save_pretrained(out)


def _minimise(pointing: Pointing, images: Tensor, cubes: Tensor, options: argparse.Namespace) -> None:
    optimiser = torch.optim.AdamW([*pointing.trained, *pointing.head.parameters()], lr=options.rate, weight_decay=1e-4)
    total = max(options.steps, 100)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=total, pct_start=0.05)
    held_out, began = min(512, len(images) // 10), time.perf_counter()
    for step in range(min(options.steps, options.stop or options.steps)):
        rows = torch.randint(held_out, len(images), (options.batch,))
        error, other = pointing.errors(images[rows], cubes[rows], torch.randint(len(COLOURS), (options.batch,)))
        loss: Any = error.square().mean() + 0.3 * other.square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(pointing.trained, 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % _EVALUATE_EVERY == 0 or step + 1 == options.steps:
            metres = pointing.distances(images[:held_out], cubes[:held_out])
            print(
                f"step {step + 1}  loss {loss.item():.4f}  held-out error: median {metres.median() * 100:.2f} cm  "
                f"95 % {metres.quantile(0.95) * 100:.2f} cm  {time.perf_counter() - began:.0f} s", flush=True,
            )  # fmt: skip
