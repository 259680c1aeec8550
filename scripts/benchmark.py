"""Measures speed and memory of training, as ratios within one run.

    python -m scripts.benchmark                          # the bundled policy on simple_pick, 2-4 minutes
    python -m scripts.benchmark policy.path=my/policy    # any keys of train.py

Two things that are compared take turns, so that a busy machine slows both; numbers are medians over the turns.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from scripts.options import Parser, count, one_sentence, whole

WORLDS = (1, 4, 16)
PARTS = ("render", "physics", "encode", "decode", "learn")


class Stopwatch:
    """Measures seconds inside wrapped functions, by name; none of them may call another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Measure every later call of `owner.method` under `name`."""
        call: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - begin

        setattr(owner, method, timed)


def started_parts(overrides: Sequence[str], num_envs: int) -> Any:
    """Return the parts of train.py with these overrides and number of worlds, after the simulation has started."""
    from scripts.parts import build_parts

    parts = build_parts([*overrides, f"num_envs={num_envs}"], lambda text: print(text, file=sys.stderr, flush=True))
    parts.env.reset(seeds=list(range(num_envs)))
    return parts


def play(parts: Any, rounds: int) -> float:
    """Return decisions per second of the base policy over some rounds, without the resets between them."""
    import numpy as np
    import torch

    generator, spent, env = torch.Generator().manual_seed(0), 0.0, parts.env
    env.reset(seeds=list(range(len(env))))
    for _ in range(rounds):
        noise = torch.randn(len(env), *parts.policy.noise_shape, generator=generator)
        begin = time.perf_counter()
        env.decide(noise, torch.arange(len(env)))
        spent += time.perf_counter() - begin
        ended = np.flatnonzero(env.ended.numpy())
        if len(ended):
            env.reset(ended)
    return rounds * len(env) / spent


def throughput(scenes: Mapping[int, Any], repeats: int) -> dict[int, float]:
    """Return decisions per second by number of worlds; scenes: number of worlds -> parts."""
    for parts in scenes.values():
        play(parts, 1)
    turns = [{num: play(parts, 3) for num, parts in scenes.items()} for _ in range(repeats)]
    return {num: median(turn[num] for turn in turns) for num in WORLDS}


def shares(parts: Any, rounds: int) -> dict[str, float]:
    """Return median share of each part of the work in a round of training, and of the rest."""
    from dsrl.training.trainer import Trainer

    watch, algorithm, num = Stopwatch(), parts.algorithm, len(parts.env)
    watch.wrap(parts.task, "observe", "render")
    for method in ("reset", "step", "hold"):
        watch.wrap(parts.task, method, "physics")
    watch.wrap(parts.policy, "encode", "encode")
    watch.wrap(parts.policy, "decode", "decode")
    watch.wrap(algorithm, "learn", "learn")
    settings, warmup, clock = parts.settings, 4 * num, _RoundClock(watch)
    Trainer(
        parts.env, algorithm, clock, decisions=warmup + rounds * num, warmup_decisions=warmup, utd=settings.utd,
        batch_size=settings.batch_size, buffer_size=settings.buffer_size, eval_every=10**9, seed=0,
    ).train()  # fmt: skip
    ticks = clock.ticks[4:]  # the first difference is then between two rounds of training
    turns = [{key: now[key] - then[key] for key in now} for then, now in pairwise(ticks)]
    found = {name: median(turn[name] / turn["all"] for turn in turns) for name in PARTS}
    return {**found, "rest": 1 - sum(found.values())}


class _RoundClock:
    """A monitor of training (`dsrl.training.loop.Monitor`) that reads the stopwatch after each round."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.ticks: list[dict[str, float]] = []

    def validate(self, counters: Any) -> Any:
        from dsrl.evaluation.episodes import Evaluation

        return Evaluation((0,), None, (0.0,), (1,))

    def log(self, metrics: Mapping[str, float], counters: Any) -> None:
        pass

    def save(self, name: str) -> None:
        pass

    def show(self, counters: Any, recent: Mapping[str, float]) -> None:
        self.ticks.append({**self.watch.seconds, "all": time.perf_counter()})

    def show_updates(self, done: int, recent: Mapping[str, float]) -> None:
        pass

    def should_stop(self) -> bool:
        return False


def one_encoding_or_two(parts: Any, repeats: int) -> tuple[float, float, float]:
    """Return seconds of encode + decode, of encode + lerobot's chunk, and the largest difference of the two chunks."""
    import torch

    policy, env = parts.policy, parts.env
    env.reset(seeds=list(range(len(env))))
    observation = env.task.observe()
    noise = torch.randn(len(env), *policy.noise_shape, generator=torch.Generator().manual_seed(0))

    def ours() -> Any:
        return policy.decode(policy.encode(observation), noise)

    @torch.no_grad()
    def lerobots() -> Any:
        policy.encode(observation)  # for the features that the learner needs: lerobot's method returns none
        batch = policy._preprocess(policy.embodiment.as_batch(observation, policy.device))
        return policy._postprocess(policy._policy.predict_action_chunk(batch, noise=noise.to(policy.device)))

    difference = float((ours() - lerobots()).abs().max())
    turns = [(_seconds(ours), _seconds(lerobots)) for _ in range(repeats)]
    return median(turn[0] for turn in turns), median(turn[1] for turn in turns), difference


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def peak_memory(overrides: Sequence[str]) -> dict[int, float]:
    """Return peak memory of a process in MiB, by number of worlds."""
    found = {}
    for num in WORLDS:
        command = [sys.executable, "-m", "scripts.benchmark", f"--memory-of={num}", *overrides]
        found[num] = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
    return found


def _own_peak() -> float:
    """Return the peak memory in MiB, from /proc if possible: ru_maxrss of a child starts at its parent's."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    (peak,) = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(peak) / 1024


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def report(overrides: Sequence[str], repeats: int, rounds: int) -> None:
    """Measure everything and print it as Markdown."""
    from importlib.metadata import version

    import torch

    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # each table appears as soon as it is measured
    scenes = {num: started_parts(overrides, num) for num in WORLDS}
    rates = throughput(scenes, repeats)
    memory = peak_memory(overrides)
    rows = [
        [
            str(n),
            f"{rates[n]:.1f}",
            f"{rates[n] / rates[1]:.2f} ×",
            f"{memory[n]:.0f}",
            f"{memory[n] / memory[1]:.2f} ×",
        ]
        for n in WORLDS
    ]
    print(f"\ntorch {version('torch')}, {torch.get_num_threads()} thread(s), overrides: {list(overrides) or 'none'}\n")
    print(table(["worlds", "decisions/s", "to 1 world", "peak memory, MiB", "to 1 world"], rows))

    parts = scenes[WORLDS[-1]]
    if type(parts.policy).__module__ == "dsrl.policy.smolvla":  # lerobot has a method of its own to compare with
        report_encodings(parts, 2 * repeats)
    print(f"a round of training: one decision in each of {WORLDS[-1]} worlds and its gradient steps\n")
    found = shares(parts, rounds)
    print(table(list(found), [[f"{share:.1%}" for share in found.values()]]))


def report_encodings(parts: Any, repeats: int) -> None:
    """Print the time of one decision, with one pass over the prefix and with two."""
    ours, lerobots, difference = one_encoding_or_two(parts, repeats)
    print(f"one decision of {WORLDS[-1]} worlds by the policy alone; the chunks differ by {difference:.1e} at most\n")
    rows = [
        ["encode + decode (one prefix pass)", f"{1000 * ours:.0f}", "1.00 ×"],
        ["encode + lerobot's predict_action_chunk", f"{1000 * lerobots:.0f}", f"{lerobots / ours:.2f} ×"],
    ]
    print(table(["", "ms", "to ours"], rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print all tables."""
    parser = Parser(prog="python -m scripts.benchmark", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="keys of train.py, such as policy.path=my/policy")
    parser.add_argument("--repeats", type=whole(1, 1000), default=7, help="turns per measurement (default 7)")
    parser.add_argument("--rounds", type=whole(1, 10_000), default=24, help="rounds of training (default 24)")
    parser.add_argument("--memory-of", type=count, help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args(arguments)
    with one_sentence(ImportError):
        if options.memory_of is None:
            report(options.overrides, options.repeats, options.rounds)
        else:
            play(started_parts(options.overrides, options.memory_of), 3)
            print(_own_peak())


if __name__ == "__main__":
    main()
