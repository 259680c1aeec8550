"""Makes a base policy worth steering from nothing: trains an agent to a medium return and clones its rollouts.

    python -m scripts.medium_base --task hopper --out data/hopper

    --out/agent.safetensors   a PPO agent, trained until its mean return reaches --target
    --out/dataset             its rollouts as a LeRobotDataset without images
    --out/policy              a diffusion policy that clones them
    --out/base.json           the return of that policy, unsteered

A part that exists already is not made again, and the options that it was made with must be typed again: to make one
anew, delete it and its .json, and those after it. Then
`python train.py task=hopper policy.path=data/hopper/policy` steers the policy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from scripts._options import Parser, count, ending_in_a_sentence, out_folder, real, seed, whole
from scripts.medium_base.recipes import RECIPES

OF_ALL = ("task", "target", "seed")  # options that all parts depend on
OF_PART = {"agent": ("steps",), "dataset": ("frames",), "policy": ("hidden", "clone_steps"), "base": ("episodes",)}
OPTIONS = "options"  # key of a part's .json: its own options, apart from results of equal names


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the missing parts, in order."""
    options = _options(arguments)
    import torch

    from dsrl.run.saved.files import write_json
    from scripts.medium_base.stages import STAGES

    torch.set_num_threads(1)
    with ending_in_a_sentence(ValueError, FileExistsError):
        options.out.mkdir(parents=True, exist_ok=True)
        for name, make in STAGES.items():
            if (options.out / f"{name}.json").is_file():
                _check_same(options, name)
                print(f"{name}: exists already", flush=True)
                continue
            began = time.perf_counter()
            result = {**make(options), **_typed(options, OF_ALL), "seconds": round(time.perf_counter() - began)}
            write_json(options.out / f"{name}.json", {**result, OPTIONS: _typed(options, OF_PART[name])})
            print(f"{name}: {', '.join(f'{key} {value}' for key, value in result.items())}", flush=True)


def _typed(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _check_same(options: argparse.Namespace, part: str) -> None:
    """Raise ValueError where an existing part was made with other options; those of earlier versions have no record."""
    from dsrl.run.saved.files import LARGEST_SUMMARY, read_json

    made = read_json(options.out / f"{part}.json", LARGEST_SUMMARY)
    own = made.get(OPTIONS, {})
    recorded = [(name, made[name]) for name in OF_ALL if name in made]
    recorded += [(name, own[name]) for name in OF_PART[part] if name in own]
    for name, before in recorded:
        value, option = getattr(options, name), f"--{name.replace('_', '-')}"
        if before != value:
            raise ValueError(
                f"{option} {value} but {options.out}/{part}.json was made with {option} {before}; "
                "type that, or name another --out"
            )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.medium_base", description=__doc__)
    parser.add_argument("--task", choices=sorted(RECIPES), required=True)
    parser.add_argument("--out", type=out_folder, required=True, help="folder of all parts")
    targets = ", ".join(f"{name} {recipe.target:.0f}" for name, recipe in RECIPES.items())
    parser.add_argument("--target", type=real(0.0, 1e6, open_low=True),
                        help=f"mean return at which the agent's training stops (default {targets})")  # fmt: skip
    parser.add_argument("--steps", type=count, default=10_000_000,
                        help="largest number of steps of the agent's training (default 10000000)")  # fmt: skip
    parser.add_argument("--frames", type=whole(1, 10_000_000), default=50_000,
                        help="smallest number of frames of the dataset (default 50000)")  # fmt: skip
    parser.add_argument("--clone-steps", type=count, default=5_000, help="gradient steps of cloning (default 5000)")
    parser.add_argument("--hidden", type=whole(1, 8192), default=128, help="width of the policy (default 128)")
    parser.add_argument("--episodes", type=count, default=100, help="of the measurement at the end (default 100)")
    parser.add_argument("--seed", type=seed, default=0, help="of networks, exploration and worlds (default 0)")
    options = parser.parse_args(arguments)
    options.target = RECIPES[options.task].target if options.target is None else options.target
    return options


if __name__ == "__main__":
    main()
