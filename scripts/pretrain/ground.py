"""Teach the small VLM to point: from two pictures and an instruction, where is the named cube?

A real SmolVLA starts from a VLM that knows what a red cube is; the small one starts from nothing. This stage gives
it that knowledge from pictures of reset worlds alone (no robot data), before `pretrain.py` clones demonstrations.

    python -m scripts.ground --out data/pointing --scenes 20480 --steps 12000 --stop 1000 --seed 1
    python -m scripts.ground --out data/grounded --scenes 20480 --init data/pointing --steps 2500 --rate 8e-4 --seed 2
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model
from torch import Tensor, nn

from dsrl.task._tabletop import COLOURS
from dsrl.task.simple_pick import SimplePick
from scripts.pretrain.small_smolvla import IMAGE_SIZE, PointingHead, make_small_smolvla, state_token_values

_CENTRE, _HALF = torch.tensor([0.555, 0.0]), torch.tensor([0.105, 0.20])  # m, where cubes lie


def photograph(scenes: int, num_envs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures uint8 [N, cameras, 3, H, W] of reset worlds and cube coordinates [N, 3, 2], scaled to ±1."""
    task = SimplePick(num_envs, "hand", "sparse", 24, IMAGE_SIZE, "cpu")
    images, cubes = [], []
    for start in range(0, scenes, num_envs):
        task.reset(torch.arange(num_envs), [seed * 1_000_003 + start + i for i in range(num_envs)])
        images.append(torch.stack(list(task.observe().images.values()), dim=1))
        cubes.append((task.cube_positions()[..., :2] - _CENTRE) / _HALF)
    return torch.cat(images), torch.cat(cubes)


def learn_to_point(
    out: Path,
    images: Tensor,
    cubes: Tensor,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    init: Path | None,
    stop: int | None,
) -> None:
    torch.manual_seed(seed)
    policy = make_small_smolvla(out, ("front", "wrist"), state_dim=4, action_dim=4)
    if init is not None:
        load_model(policy, init / "model.safetensors")
    policy.train()
    for parameter in policy.parameters():
        parameter.requires_grad_(True)
    head = PointingHead(96, len(COLOURS))
    parameters = [*policy.model.vlm_with_expert.vlm.parameters(), *policy.model.state_proj.parameters()]
    optimiser = torch.optim.AdamW([*parameters, *head.parameters()], lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(steps, 100), pct_start=0.05)
    tokens, masks = _tokens(policy)
    held_out = min(512, len(images) // 10)
    started = time.perf_counter()
    for step in range(min(steps, stop or steps)):
        rows = torch.randint(held_out, len(images), (batch,))
        named = torch.randint(len(COLOURS), (batch,))
        error, other = _errors(policy, head, images[rows], cubes[rows], tokens, masks, named)
        loss: Any = error.square().mean() + 0.3 * other.square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 249 or step == steps - 1:
            named = torch.arange(held_out) % len(COLOURS)
            with torch.no_grad():
                error, _ = _errors(policy, head, images[:held_out], cubes[:held_out], tokens, masks, named)
            metres = (error * _HALF).norm(dim=1)
            print(
                f"step {step + 1}  loss {loss.item():.4f}  held-out pointing error: "
                f"median {metres.median() * 100:.2f} cm  95 % {metres.quantile(0.95) * 100:.2f} cm  "
                f"{time.perf_counter() - started:.0f} s", flush=True,
            )  # fmt: skip
    policy.config.vlm_model_name = "vlm"  # relative, so that the folder can move
    policy.save_pretrained(out)


def _errors(
    policy: Any, head: PointingHead, images: Tensor, cubes: Tensor, tokens: Tensor, masks: Tensor, named: Tensor
) -> tuple[Tensor, Tensor]:
    pictures = [images[:, i].float() / 127.5 - 1 for i in range(images.shape[1])]
    state = torch.randn(len(images), 4)  # where a cube lies must not depend on the arm
    values = state_token_values(policy, pictures, tokens[named], masks[named], state)
    error = head.named(values) - cubes[torch.arange(len(cubes)), named]
    return error, head.all(values) - cubes.flatten(1)


def _tokens(policy: Any) -> tuple[Tensor, Tensor]:
    tokenizer = policy.model.vlm_with_expert.processor.tokenizer
    sentences = [f"{sentence}\n" for sentence in SimplePick.instructions]
    encoded = tokenizer(sentences, padding="longest", return_tensors="pt")
    return encoded["input_ids"], encoded["attention_mask"].bool()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/grounded"))
    parser.add_argument("--scenes", type=int, default=20_480, help="pictured worlds")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--init", type=Path, help="folder of an earlier stage to go on from")
    parser.add_argument("--stop", type=int, help="end early after so many steps of the schedule")
    parser.add_argument("--scene-seed", type=int, default=1, help="of the pictured worlds")
    parser.add_argument("--seed", type=int, default=1, help="of the initial weights and the batches")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pictures, places = photograph(options.scenes, options.num_envs, options.scene_seed)
    learn_to_point(
        options.out,
        pictures,
        places,
        options.steps,
        options.batch,
        options.rate,
        options.seed,
        options.init,
        options.stop,
    )
