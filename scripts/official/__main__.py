"""Trains the published DSRL-NA on a MuJoCo task with our base policy and writes its learning curve.

    python -m scripts.official --fork stable-baselines3 --task hopper --seed 0 --out official_0.csv

`--fork` is a checkout of github.com/ajwagen/stable-baselines3. Evaluations are ours: the worlds and seeds of train.py,
with the published actor's draws (its own evaluation) and its mean (ours). scripts.official.compare reads the CSV file;
its steps are four per chunk, also during warm-up.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scripts._options import Parser, count, ending_in_a_sentence, folder, out_file, seed, whole
from scripts.medium_base.recipes import RECIPES


def main(arguments: Sequence[str] | None = None) -> None:
    """Import the published code from the fork and train it."""
    options = _options(arguments)
    sys.path.insert(0, str(options.fork))
    try:
        import stable_baselines3 as fork

        fork.DSRL  # noqa: B018
    except (ImportError, AttributeError) as error:
        sys.exit(
            f"error: --fork {options.fork} does not contain the published DSRL ({error}); "
            "check github.com/ajwagen/stable-baselines3 out there, and install pandas and cloudpickle"
        )
    from scripts.official.published import train

    with ending_in_a_sentence():
        train(fork, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.official", description=__doc__)
    parser.add_argument("--fork", type=folder, required=True, help="checkout of ajwagen/stable-baselines3")
    parser.add_argument("--out", type=out_file, required=True, help="the CSV file")
    parser.add_argument("--task", choices=sorted(RECIPES), default="hopper")
    parser.add_argument("--seed", type=seed, default=0, help="of networks, exploration and training worlds (default 0)")
    parser.add_argument("--decisions", type=count, default=12000, help="chunks, with warm-up (default 12000)")
    parser.add_argument("--warmup-decisions", type=count, default=2000,
                        help="chunks of the base policy (default 2000)")  # fmt: skip
    parser.add_argument("--train-freq", type=whole(1, 10_000), default=1,
                        help="steps of all 4 worlds per 20 gradient steps (default 1)")  # fmt: skip
    parser.add_argument("--eval-every", type=count, default=1000, help="chunks between evaluations (default 1000)")
    parser.add_argument("--validation-episodes", type=whole(1, 4096), default=16, help="(default 16)")
    options = parser.parse_args(arguments)
    if options.warmup_decisions >= options.decisions:
        parser.error(
            f"--warmup-decisions {options.warmup_decisions} must be smaller than --decisions {options.decisions}; "
            "lower it"
        )
    options.id = RECIPES[options.task].id
    return options


if __name__ == "__main__":
    main()
