"""Kill a small run again and again, at random moments and while it writes checkpoints; it must end as if never killed.

    python -m scripts.crash_test kills=20 seed=0

One run is left alone. Another, of the same command, is killed (SIGKILL) `kills` times: in turn after a random time and
as soon as a checkpoint is being written. Then both must agree: weights, replay and every metric besides the clock.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dsrl.run import RunFolder

ROOT = Path(__file__).resolve().parent.parent
RUN = (
    "task=pendulum",
    "logging=csv",
    "num_envs=2",
    "task.max_steps=20",
    "warmup_decisions=40",
    "decisions=1600",
    "batch_size=16",
    "eval_every=40",
    "eval_episodes=4",
    "validation_episodes=2",
    "sac.hidden=16",
)
CLOCKS = ("wall_time_s", "setup_time_s")


def main(kills: int, seed: int) -> None:
    """Run both, compare, and exit with 1 where they differ."""
    folder = Path(tempfile.mkdtemp(prefix="crash_test-"))
    begin = time.monotonic()
    _start(folder / "alone").wait()
    alone_s = time.monotonic() - begin
    begin = time.monotonic()
    died = _kill(folder / "killed", kills, random.Random(seed))
    killed_s = time.monotonic() - begin
    alone, killed = told(folder / "alone"), told(folder / "killed")
    differing = [name for name in alone if alone[name] != killed[name]]
    print(
        f"{sum(died.values())} kills ({died['writing']} while a checkpoint was being written); "
        f"undisturbed {alone_s:.0f} s, killed {killed_s:.0f} s; compared {', '.join(alone)}: "
        + (f"DIFFERENT in {', '.join(differing)}" if differing else "identical")
    )
    if differing:
        raise SystemExit(1)


def told(folder: Path) -> dict[str, object]:
    """All that a run left besides times: figures, metrics and the digests of its weights."""
    summary = json.loads((folder / "summary.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for figures in (summary, *rows):
        for clock in CLOCKS:
            figures.pop(clock, None)
    run = RunFolder(folder)
    newest = max((path for path in run.resume.iterdir()), key=lambda path: path.name)
    replay_and_all = json.loads((newest / "manifest.json").read_text())["tensors.safetensors"]
    weights = {name: run.checkpoint_sha256(name) for name in ("best", "last")}
    return {"summary": summary, "metrics": rows, "weights": weights, "newest checkpoint": replay_and_all}


def _start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    output = (folder / "output.txt").open("ab")
    command = [sys.executable, str(ROOT / "train.py"), *RUN, f"hydra.run.dir={folder}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)


def _kill(folder: Path, kills: int, rng: random.Random) -> dict[str, int]:
    """Start, kill and start again; the kills that met a run at work, by moment. At last it is left to end."""
    died = {"random": 0, "writing": 0}
    while sum(died.values()) < kills:
        run, writing = _start(folder), sum(died.values()) % 2 == 1
        before = _checkpoints(folder)
        while run.poll() is None and _checkpoints(folder) == before:  # each start gets further: it writes one
            time.sleep(0.01)
        if writing:
            moment = _wait_for_write(run, RunFolder(folder).resume / ".unfinished")
        else:
            time.sleep(rng.uniform(0.0, 0.5))
            moment = "random"
        if run.poll() is not None:
            break
        run.send_signal(signal.SIGKILL)
        run.wait()
        died[moment] += 1
    if sum(died.values()) < kills:
        raise SystemExit(f"the run ended after {sum(died.values())} of {kills} kills; ask for fewer")
    final = _start(folder)
    if final.wait():
        raise SystemExit(f"the run does not go on; see {folder / 'output.txt'}")
    return died


def _wait_for_write(run: subprocess.Popen[bytes], unfinished: Path) -> str:
    until = time.monotonic() + 20.0
    while run.poll() is None and time.monotonic() < until:
        if unfinished.exists():
            return "writing"
    return "random"


def _checkpoints(folder: Path) -> list[str]:
    resume = RunFolder(folder).resume
    return sorted(path.name for path in resume.iterdir() if path.name.isdigit()) if resume.is_dir() else []


if __name__ == "__main__":
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(kills=int(options.get("kills", 20)), seed=int(options.get("seed", 0)))
