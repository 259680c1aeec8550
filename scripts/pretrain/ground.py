"""Teaches the bundled SmolVLA's small VLM to point: predicts the named cube's place from two images and an instruction.

A real SmolVLA starts from a pre-trained VLM that recognises a red cube; the small one starts from random weights. This
stage trains it on images of reset worlds alone (no robot data), before `scripts.pretrain` clones demonstrations.

    python -m scripts.pretrain.ground --out data/pointing --steps 12000 --stop 1000 --seed 1
    python -m scripts.pretrain.ground --out data/grounded --init data/pointing --steps 2500 --rate 8e-4 --seed 2
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts._options import Parser, count, ending_in_a_sentence, folder, new_folder, rate, seed, whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Render the images, train and write the policy."""
    options = _options(arguments)
    import torch

    from scripts._complete_folder import complete_folder
    from scripts.pretrain.pointing import learn_to_point, render_worlds

    torch.set_num_threads(1)
    with ending_in_a_sentence(ImportError, ValueError), complete_folder(options.out) as out:
        images, cubes = render_worlds(options.scenes, options.num_envs, options.scene_seed)
        learn_to_point(images, cubes, options, out)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.pretrain.ground", description=__doc__)
    parser.add_argument("--out", type=new_folder, required=True, help="folder of the new policy; must not exist")
    parser.add_argument("--scenes", type=whole(10, 10_000_000), default=20_480, help="rendered worlds (default 20480)")
    parser.add_argument("--num-envs", type=whole(1, 4096), default=64, help="worlds at a time (default 64)")
    parser.add_argument("--steps", type=count, default=12_000, help="gradient steps of the schedule (default 12000)")
    parser.add_argument("--batch", type=whole(1, 1_000_000), default=64, help="batch size (default 64)")
    parser.add_argument("--rate", type=rate, default=1e-3, help="peak learning rate (default 1e-3)")
    parser.add_argument("--init", type=folder, help="folder of an earlier stage to continue from")
    parser.add_argument("--stop", type=count, help="end early after so many steps of the schedule")
    parser.add_argument("--scene-seed", type=seed, default=1, help="of the rendered worlds (default 1)")
    parser.add_argument("--seed", type=seed, default=1, help="of the initial weights and the batches (default 1)")
    options = parser.parse_args(arguments)
    if options.init is not None and not (options.init / "model.safetensors").is_file():
        parser.error(f"--init {options.init} has no model.safetensors; type the --out of an earlier stage")
    return options


if __name__ == "__main__":
    main()
