"""Records scripted demonstrations of mixed quality in a Genesis task into a LeRobotDataset.

python -m scripts.collect_demos --out data/simple_pick --episodes 2560 --seed 7
python -m scripts.collect_demos --out data/simple_pick_state --episodes 2560 --seed 7 --observation state
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts._options import Parser, count, ending_in_a_sentence, new_folder, real, seed, whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the demonstrations."""
    options = _options(arguments)
    import torch

    from scripts._complete_folder import complete_folder
    from scripts.collect_demos.recording import collect, make_task

    torch.set_num_threads(1)
    with ending_in_a_sentence(ImportError), complete_folder(options.out, made=False) as out:
        task = make_task(options.task, options.num_envs, options.control, options.image_size, options.observation)
        collect(task, out, options.episodes, options.seed, *options.sloppiness)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.collect_demos", description=__doc__)
    parser.add_argument("--out", type=new_folder, required=True, help="folder of the new dataset; must not exist")
    parser.add_argument("--task", choices=["simple_pick", "pick_place"], default="simple_pick")
    parser.add_argument("--control", choices=["hand", "joint"], default="hand")
    parser.add_argument("--observation", choices=["images", "state"], default="images", help="state renders nothing")
    parser.add_argument("--episodes", type=count, default=2560, help="demonstrations (default 2560)")
    parser.add_argument("--num-envs", type=whole(1, 4096), default=64, help="worlds at a time (default 64)")
    parser.add_argument("--image-size", type=whole(8, 1024), default=96, help="pixels, square (default 96)")
    parser.add_argument("--seed", type=seed, default=7, help="of the worlds and of the operator's errors (default 7)")
    parser.add_argument("--sloppiness", type=real(-0.5, 0.5), nargs=2, default=(0.042, 0.02),
                        metavar=("MEAN", "SPREAD"), help="regression to the middle of the table, metres "
                        "(default 0.042 0.02); 0 0 is the perfect expert")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.sloppiness[1] < 0:
        parser.error(f"--sloppiness SPREAD {options.sloppiness[1]} is negative; type a number of at least 0")
    return options


if __name__ == "__main__":
    main()
