"""The command-line options of pre-training, apart from --policy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts._options import Parser, count, device, new_folder, rate, real, seed, whole

SMALL = "small"  # --init of a SmolVLA with random weights


def smolvla_options(description: str | None, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of --policy smolvla."""
    parser = _parser("smolvla", description, steps=6000, batch=64)
    parser.add_argument("--init", required=True,
                        help="folder or hub id of the SmolVLA to start from; small: a new one of 1.5 million "
                        "weights, with --train all")  # fmt: skip
    parser.add_argument("--chunk", type=whole(1, 1024), help="actions per chunk of --init small (default 8)")
    parser.add_argument("--train", choices=["expert", "all"], default="expert",
                        help="expert (default) freezes the VLM, all trains it too")  # fmt: skip
    parser.add_argument("--extra-frames", type=whole(0, 1_000_000), default=3,
                        help="random frames per episode besides those of decisions (default 3)")  # fmt: skip
    parser.add_argument("--held-out", type=count, default=64, help="episodes for the held-out loss (default 64)")
    parser.add_argument("--cache-prefix", action="store_true", help="store the frozen VLM's keys and values")
    parser.add_argument("--device", type=device, default="cpu", help="of torch, such as cuda (default cpu)")
    options = parser.parse_args(arguments)
    if options.cache_prefix and options.train == "all":
        parser.error("--cache-prefix needs a frozen VLM; type --train expert")
    if options.init == SMALL and options.train == "expert":
        parser.error("--init small has a VLM of random weights; type --train all")
    if options.chunk is not None and options.init != SMALL:
        parser.error(f"--chunk {options.chunk} but the chunks of --init {options.init} have their length; leave it out")
    return options


def mlp_options(kind: str, description: str | None, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of --policy flow_mlp and diffusion_mlp."""
    parser = _parser(kind, description, steps=5000, batch=256)
    parser.add_argument("--chunk", type=whole(1, 1024), default=8, help="actions per chunk (default 8)")
    parser.add_argument("--hidden", type=whole(1, 8192), default=256, help="width of the network (default 256)")
    parser.add_argument("--depth", type=whole(1, 64), default=3, help="residual layers (default 3)")
    parser.add_argument("--num-steps", type=whole(1, 1000), default=5,
                        help="denoising steps where policy.num_steps is not given (default 5)")  # fmt: skip
    if kind == "diffusion_mlp":
        parser.add_argument("--train-steps", type=whole(1, 10_000), default=20, help="noise levels (default 20)")
    parser.add_argument("--extra-frames", type=whole(0, 1_000_000),
                        help="random frames per episode besides those of decisions (default all)")  # fmt: skip
    parser.add_argument("--held-out", type=real(0.0, 1.0, open_low=True, open_high=True), default=0.05,
                        help="share of the episodes for the held-out loss (default 0.05)")  # fmt: skip
    options = parser.parse_args(arguments)
    if kind == "diffusion_mlp" and options.num_steps > options.train_steps:
        parser.error(f"--num-steps {options.num_steps} exceeds --train-steps {options.train_steps}; lower it")
    return options


def diffusion_options(description: str | None, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of --policy diffusion, lerobot's Diffusion Policy."""
    parser = _parser("diffusion", description, steps=20_000, batch=64)
    parser.add_argument("--horizon", type=whole(8, 1024), default=16,
                        help="actions that the network predicts, a multiple of 8 (default 16)")  # fmt: skip
    parser.add_argument("--observations", type=whole(1, 16), default=2, help="consecutive observations (default 2)")
    parser.add_argument("--chunk", type=whole(1, 1024), default=8, help="actions per chunk (default 8)")
    parser.add_argument("--width", type=whole(8, 8192), default=64, help="of the U-Net's first stage (default 64)")
    parser.add_argument("--num-steps", type=whole(1, 100), default=10,
                        help="denoising steps where policy.num_steps is not given (default 10)")  # fmt: skip
    parser.add_argument("--robot-state", type=count,
                        help="numbers of the state that are the robot's; the rest is its surroundings'")  # fmt: skip
    parser.add_argument("--held-out", type=real(0.0, 1.0, open_low=True, open_high=True), default=0.05,
                        help="share of the episodes for the held-out loss (default 0.05)")  # fmt: skip
    parser.add_argument("--device", type=device, default="cpu", help="of torch, such as cuda (default cpu)")
    options = parser.parse_args(arguments)
    most = options.horizon - options.observations + 1
    if options.horizon % 8:
        parser.error(f"--horizon {options.horizon} is no multiple of 8; type {options.horizon // 8 * 8 + 8}")
    if options.chunk > most:
        parser.error(f"--chunk {options.chunk} exceeds the {most} actions from the last observation on; lower it")
    if options.width % 8:
        parser.error(f"--width {options.width} is no multiple of 8; type {options.width // 8 * 8 + 8}")
    return options


def _parser(kind: str, description: str | None, *, steps: int, batch: int) -> Parser:
    parser = Parser(prog=f"python -m scripts.pretrain --policy {kind}", description=description)
    parser.add_argument("--dataset", required=True, help="folder or hub id of a LeRobotDataset")
    parser.add_argument("--out", type=new_folder, required=True, help="folder of the new checkpoint; must not exist")
    parser.add_argument("--steps", type=count, default=steps, help=f"gradient steps (default {steps})")
    parser.add_argument("--batch", type=whole(1, 1_000_000), default=batch, help=f"batch size (default {batch})")
    parser.add_argument("--rate", type=rate, default=1e-3, help="peak learning rate (default 1e-3)")
    parser.add_argument("--evaluate-every", type=count, default=500,
                        help="gradient steps between held-out losses (default 500)")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=1, help="of weights and batches (default 1)")
    return parser
