"""Measures speed and memory as ratios within one run, beside peers and the machine's limits.

    python -m scripts.benchmark                          # the bundled policy on simple_pick, about ten minutes
    python -m scripts.benchmark policy.path=my/policy    # any keys of train.py
    python -m scripts.benchmark --only policy learner    # some of the tables
    python -m scripts.benchmark --gpu --only policy real_size pi0 learner

Functions that are compared take turns; times are CPU seconds, so that other processes hardly matter (with --gpu, wall
seconds); a ratio is the median of its turns (smallest … largest). docs/speed.md explains each figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scripts._options import Parser, count, ending_in_a_sentence, whole

TABLES = ("machine", "policy", "real_size", "pi0", "learner", "worlds", "round", "cold_start")


def report(overrides: Sequence[str], only: Sequence[str], device: str, repeats: int, rounds: int) -> None:
    """Print the tables that `only` names, in the order of TABLES."""
    from importlib.metadata import version

    import torch

    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # each table appears when it is measured
    torch.set_num_threads(1)
    print(f"\ntorch {version('torch')}, {torch.backends.cpu.get_cpu_capability()}, one thread, {device}, {overrides}\n")
    if "machine" in only:
        _report_machine()
    if "policy" in only:
        from scripts.benchmark.policies import report_bundled

        report_bundled(_path(overrides), device, repeats)
    if "real_size" in only:
        from scripts.benchmark.policies import report_real_size

        report_real_size(device, max(3, repeats // 2), worlds=(1,) if device == "cpu" else (1, 16))
    if "pi0" in only:
        from scripts.benchmark.pi0 import report_real_pi0

        report_real_pi0(device, repeats)
    if "learner" in only:
        from scripts.benchmark.learners import report_learners

        report_learners(features=388, dim=4, turns=repeats, device=device)
    if "worlds" in only or "round" in only:
        _report_play(overrides, only, repeats, rounds)
    if "cold_start" in only:
        from scripts.benchmark.cold_start import report_cold_start

        report_cold_start(overrides)


def _report_machine() -> None:
    from scripts.benchmark.paired import table
    from scripts.benchmark.policies import machine_limits

    print("float32 products, billions of operations per CPU second\n")
    sizes = {"128 x 96 x 512": (128, 96, 512), "256 x 256 x 256": (256,) * 3, "2048 x 768 x 3072": (2048, 768, 3072)}
    print(table(["rows x in x out", "torch", "oneDNN", "torch ÷ oneDNN"], machine_limits(sizes)))


def _report_play(overrides: Sequence[str], only: Sequence[str], repeats: int, rounds: int) -> None:
    from scripts.benchmark.rounds import WORLDS, report_round, report_worlds, started_parts

    scenes = {num: started_parts(overrides, num) for num in (WORLDS if "worlds" in only else WORLDS[-1:])}
    if "worlds" in only:
        report_worlds(scenes, overrides, repeats)
    if "round" in only:
        report_round(scenes[WORLDS[-1]], overrides, rounds)


def _path(overrides: Sequence[str]) -> str:
    given = [override.partition("=")[2] for override in overrides if override.startswith("policy.path=")]
    return given[-1] if given else "simple_pick"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print all tables, or those of --only."""
    parser = Parser(prog="python -m scripts.benchmark", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="keys of train.py, such as policy.path=my/policy")
    parser.add_argument("--only", nargs="+", choices=TABLES, help="tables to print (default all; pi0 with --gpu only)")
    parser.add_argument("--gpu", action="store_true", help="run policies and learners on CUDA")
    parser.add_argument("--repeats", type=whole(1, 1000), default=7, help="turns per measurement (default 7)")
    parser.add_argument("--rounds", type=whole(1, 10_000), default=24, help="rounds of training (default 24)")
    parser.add_argument("--memory-of", type=count, help=argparse.SUPPRESS)
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args(arguments)
    only = options.only or [name for name in TABLES if options.gpu or name != "pi0"]
    if "pi0" in only and not options.gpu:
        parser.error("--only pi0 takes a GPU: one decision takes a CPU minutes; type --gpu besides")
    from scripts._parts import composed

    with ending_in_a_sentence(ImportError):
        composed(options.overrides)  # what cannot work is told before minutes of measuring
        if options.memory_of is not None:
            from scripts.benchmark.rounds import own_peak, play, started_parts

            play(started_parts(options.overrides, options.memory_of), 3)
            print(own_peak())
        elif options.start:
            from scripts.benchmark.cold_start import start

            start(options.overrides)
        else:
            device = "cuda" if options.gpu else "cpu"
            report(options.overrides, only, device, options.repeats, options.rounds)


if __name__ == "__main__":
    main()
