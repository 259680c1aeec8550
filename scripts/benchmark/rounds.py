"""Times training in the simulator: decisions by number of worlds, shares of the work, and a seed-style loop."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from dsrl.run.terminal.installed import SCRIPTS
from scripts.benchmark.paired import table

WORLDS = (1, 4, 16)
SEED_STYLE_PIXELS = (96, 512)  # side of the pictures, the policy's own and the common ones of real cameras
PARTS = ("render", "physics", "encode", "decode", "learn")


class Stopwatch:
    """Measures CPU seconds inside wrapped functions, by name; none of them may call another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Measure every later call of `owner.method` under `name`."""
        call: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds[name] += time.process_time() - begin

        setattr(owner, method, timed)


def started_parts(overrides: Sequence[str], num_envs: int) -> Any:
    """Return the parts of train.py with these overrides and number of worlds, after the simulation has started."""
    from scripts._parts import build_parts

    noise = [] if any(one.startswith("noise=") for one in overrides) else ["noise=repeat"]  # not measured here
    announce = partial(print, file=sys.stderr, flush=True)
    parts = build_parts([*overrides, *noise, f"num_envs={num_envs}"], announce)
    parts.env.reset(seeds=list(range(num_envs)))
    return parts


def play(parts: Any, rounds: int) -> float:
    """Return decisions per CPU second of the base policy over some rounds, without the resets between them."""
    import numpy as np
    import torch

    generator, spent, env = torch.Generator().manual_seed(0), 0.0, parts.env
    env.reset(seeds=list(range(len(env))))
    for _ in range(rounds):
        noise = torch.randn(len(env), *parts.policy.noise_shape, generator=generator)
        begin = time.process_time()
        env.decide(noise, torch.arange(len(env)))
        spent += time.process_time() - begin
        ended = np.flatnonzero(env.ended.numpy())
        if len(ended):
            env.reset(ended)
    return rounds * len(env) / spent


def throughput(scenes: Mapping[int, Any], repeats: int) -> dict[int, float]:
    """Return decisions per CPU second by number of worlds; scenes: number of worlds -> parts."""
    for parts in scenes.values():
        play(parts, 1)
    turns = [{num: play(parts, 3) for num, parts in scenes.items()} for _ in range(repeats)]
    return {num: median(turn[num] for turn in turns) for num in WORLDS}


def shares(parts: Any, rounds: int) -> dict[str, float]:
    """Return median share of each part of the work in a round of training, and of the rest."""
    from dsrl.interfaces import ObservesRows

    watch, algorithm = Stopwatch(), parts.algorithm
    watch.wrap(parts.task, "observe_rows" if isinstance(parts.task, ObservesRows) else "observe", "render")
    for method in ("reset", "step", "hold"):
        watch.wrap(parts.task, method, "physics")
    watch.wrap(parts.policy, "encode", "encode")
    watch.wrap(parts.policy, "decode", "decode")
    watch.wrap(algorithm, "learn", "learn")
    ticks = train_rounds(parts, watch, rounds)
    turns = [{key: now[key] - then[key] for key in now} for then, now in pairwise(ticks)]
    found = {name: median(turn[name] / turn["all"] for turn in turns) for name in PARTS}
    return {**found, "rest": 1 - sum(found.values())}


def train_rounds(parts: Any, watch: Stopwatch, rounds: int) -> list[dict[str, float]]:
    """Train for some rounds, one decision in every world each; returns the stopwatch after each of them."""
    from dsrl.training.trainer import Trainer

    num, settings, clock = len(parts.env), parts.settings, _RoundClock(watch)
    warmup = 4 * num
    Trainer(
        parts.env, parts.algorithm, clock, decisions=warmup + rounds * num, warmup_decisions=warmup, utd=settings.utd,
        batch_size=settings.batch_size, buffer_size=settings.buffer_size, eval_every=10**9, seed=0,
    ).train()  # fmt: skip
    return clock.ticks[4:]  # the first difference is then between two rounds of training


def seed_style(overrides: Sequence[str], size: int, rounds: int) -> float:
    """Return CPU seconds per decision of training in one world that is drawn at `size` pixels after every control step.

    This is the loop that implementations of DSRL begin with: one environment whose step returns an observation.
    """
    parts = started_parts([*overrides, f"task.image_size={size}"], 1)
    step, observe = parts.task.step, parts.task.observe

    def step_and_look(action: Any) -> Any:
        result = step(action)
        observe()
        return result

    parts.task.step = step_and_look
    return cpu_per_decision(parts, rounds)


def cpu_per_decision(parts: Any, rounds: int) -> float:
    """Return CPU seconds per decision of training, learning included: the median over rounds."""
    ticks = train_rounds(parts, Stopwatch(), rounds)
    return median(now["all"] - then["all"] for then, now in pairwise(ticks)) / len(parts.env)


class _RoundClock:
    """A monitor of training (`dsrl.training.loop.Monitor`) that reads the stopwatch after each round."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.ticks: list[dict[str, float]] = []

    def validate(self, counters: Any) -> Any:
        from dsrl.evaluation.episodes import Evaluation

        return Evaluation((0,), None, (0.0,), (1,))

    def validate_as(self, name: str) -> None:
        return None

    def note(self, sentence: str) -> None:
        pass

    def log(self, metrics: Mapping[str, float], counters: Any) -> None:
        pass

    def save(self, name: str) -> None:
        pass

    def show(self, counters: Any, recent: Mapping[str, float]) -> None:
        self.ticks.append({**self.watch.seconds, "all": time.process_time()})

    def show_updates(self, done: int, recent: Mapping[str, float]) -> None:
        pass

    def should_stop(self) -> bool:
        return False


def peak_memory(overrides: Sequence[str]) -> dict[int, float]:
    """Return peak memory of a process in MiB, by number of worlds."""
    found = {}
    for num in WORLDS:
        command = [sys.executable, "-m", f"{SCRIPTS}.benchmark", f"--memory-of={num}", *overrides]
        found[num] = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
    return found


def own_peak() -> float:
    """Return the peak memory in MiB, from /proc if possible: ru_maxrss of a child starts at its parent's."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    (peak,) = [line.split()[1] for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
    return int(peak) / 1024


def report_worlds(scenes: Mapping[int, Any], overrides: Sequence[str], repeats: int) -> None:
    """Print decisions per CPU second and memory by number of worlds."""
    rates, memory = throughput(scenes, repeats), peak_memory(overrides)
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
    print(table(["worlds", "decisions/CPU s", "to 1 world", "peak memory, MiB", "to 1 world"], rows))


def report_round(parts: Any, overrides: Sequence[str], rounds: int) -> None:
    """Print the shares of a round of training, and its cost beside a seed-style loop's."""
    print(f"a round of training: one decision in each of {len(parts.env)} worlds and its gradient steps\n")
    found = shares(parts, rounds)
    print(table(list(found), [[f"{share:.1%}" for share in found.values()]]))
    ours = cpu_per_decision(started_parts(overrides, len(parts.env)), rounds)
    rows = [[f"{len(parts.env)} worlds, drawn when looked at", f"{1000 * ours:.1f}", "1.0 ×"]]
    for size in SEED_STYLE_PIXELS:
        seconds = seed_style(overrides, size, rounds)
        rows.append(
            [f"1 world, {size} × {size} at each control step", f"{1000 * seconds:.1f}", f"{seconds / ours:.1f} ×"]
        )
    print("training beside a seed-style loop\n")
    print(table(["loop", "CPU ms per decision", "to ours"], rows))
