"""Do to small real runs what a cluster does to long ones; each must end as if nothing had happened.

    python -m scripts.crash_test                     all of it; ten minutes on two cores
    python -m scripts.crash_test kills=40 seed=1     more kills, at other moments
    python -m scripts.crash_test kills=0             the other accidents alone

One run is left alone. The others, of the same command, are killed (SIGKILL) again and again: in turn while they start,
at a random moment, and while a checkpoint is being written; find their newest checkpoint cut short, or one bit of it
flipped; meet a full disk (a small tmpfs, which only root may mount), or a wandb server that does not answer. Each goes
on by the same command and is compared: summary, every metric besides the clock, weights, and the newest checkpoint,
which holds replay, optimisers and random states. The exit code is 1 where anything differs or is not said in one line.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scripts.crash_test.runs import Run, differences, load_libraries

MOMENTS = ("starting", "running", "writing")
STARTING_S = 4.0  # s: in which a kill meets a run that composes its config, builds its parts or reads a checkpoint


def main(kills: int, seed: int) -> None:
    """Do everything, print one table, and exit with 1 where something was lost."""
    folder, console = Path(tempfile.mkdtemp(prefix="crash_test-")), Console(soft_wrap=True)
    begin = time.monotonic()
    alone = Run(folder / "alone")
    alone.finish()
    load_libraries()
    console.print(f"undisturbed run: {time.monotonic() - begin:.0f} s; all runs lie in {folder}")
    trials: dict[str, Callable[[Run], str]] = {
        f"{kills} × SIGKILL": lambda run: kill(run, kills, alone.interval(), random.Random(seed)),
        "checkpoint cut short": lambda run: damage(run, lambda content: content[: len(content) // 2]),
        "checkpoint with a flipped bit": lambda run: damage(run, flipped),
        "disk full": fill_disk,
        "wandb server unreachable": lose_wandb,
    }
    table = Table("what happened", "what was seen", "result", "time")
    lost = False
    for number, (name, trial) in enumerate(trials.items()):
        if not kills and "SIGKILL" in name:
            continue
        begin, run = time.monotonic(), Run(folder / f"run{number}")
        try:
            seen = trial(run)
            differing = differences(alone, run)
            result = f"DIFFERENT: {', '.join(differing)}" if differing else "identical"
        except NotTriedError as error:
            seen, result = str(error), "not tried"
        except LostError as error:
            seen, result = str(error), "FAILED"
        lost |= result not in ("identical", "not tried")
        table.add_row(name, seen, result, f"{time.monotonic() - begin:.0f} s")
        console.print(f"{name}: {seen}: {result}")
    console.print(table)
    console.print("identical: summary, metrics, best and last weights, replay, optimisers and random states")
    raise SystemExit(1 if lost else 0)


class LostError(Exception):
    """A run did not go on, or did not say in one line what happened."""


class NotTriedError(Exception):
    """This machine does not allow the accident."""


def kill(run: Run, kills: int, interval: float, rng: random.Random) -> str:
    """Start, kill and start again; only kills that met the process at work count. At last it is left to end.

    `interval` is the time between two validations: a life lasts for two of them at most, so that a run has many.
    """
    died = dict.fromkeys(MOMENTS, 0)
    while sum(died.values()) < kills:
        moment = MOMENTS[sum(died.values()) % len(MOMENTS)]
        process = _started_until(run, moment, interval, rng)
        if not process.is_alive():
            raise LostError(f"the run ended by itself after {sum(died.values())} of {kills} kills; ask for fewer")
        process.kill()
        process.join()
        died[moment if moment != "writing" or run.is_writing() else "running"] += 1
    if run.finish():
        raise LostError(f"the run does not go on; see {run.output}")
    return ", ".join(f"{number} while {moment}" for moment, number in died.items())


def _started_until(run: Run, moment: str, interval: float, rng: random.Random) -> ForkProcess:
    """The process, started and come to such a moment; past its start, each gets further than the one before.

    A start is over when the first checkpoint is written, however quick the machine is.
    """
    before, begin, pause = run.checkpoints(), time.monotonic(), rng.uniform(0.0, 1.0)
    process = run.start()
    if moment == "starting":
        _wait(process, lambda: time.monotonic() > begin + STARTING_S * pause or run.checkpoints() != before)
        return process
    _wait(process, lambda: run.checkpoints() != before)
    time.sleep(interval * pause)
    if moment == "writing":
        _wait(process, run.is_writing, pause=0.0)
    return process


def damage(run: Run, change: Callable[[bytes], bytes]) -> str:
    """Kill the run, change the newest checkpoint's tensors, and let it go on from the one before."""
    newest = _killed_after(run, checkpoints=2) / "tensors.safetensors"
    newest.write_bytes(change(newest.read_bytes()))
    if run.finish():
        raise LostError(f"the run does not go on; see {run.output}")
    return _the_line(run, "is damaged")


def flipped(content: bytes) -> bytes:
    """One bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def fill_disk(run: Run) -> str:
    """Fill the run's disk while it runs: it must end with a sentence, and go on once there is room."""
    if os.geteuid() != 0:
        raise NotTriedError("only root may mount a tmpfs")
    run.folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "crash_test", str(run.folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        raise NotTriedError(f"mounting a tmpfs is not allowed here: {mounted.stderr.strip()}")
    try:
        process = run.start()
        _wait(process, lambda: len(run.checkpoints()) >= 2)
        _fill(run.folder / "ballast")
        process.join()
        if process.exitcode == 0:
            raise LostError(f"the run did not notice that its disk was full; see {run.output}")
        line = _the_line(run, "make room")
        (run.folder / "ballast").unlink()
        if run.finish():
            raise LostError(f"the run does not go on; see {run.output}")
        run.keep()
    finally:
        subprocess.run(["umount", "--lazy", str(run.folder)], check=True)
    return line


def lose_wandb(run: Run) -> str:
    """Log to a server that is not there: the run must say so once and log offline."""
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    if run.finish("logging=wandb", "logging.wandb.timeout=5", environment=nowhere):
        raise LostError(f"the run died of it; see {run.output}")
    if not list(run.folder.glob("wandb/offline-run-*/*.wandb")):
        raise LostError(f"nothing was logged offline; see {run.output}")
    return _the_line(run, "wandb is out of reach")


def _killed_after(run: Run, checkpoints: int) -> Path:
    """The newest checkpoint of a run that was killed as soon as it had so many."""
    process = run.start()
    _wait(process, lambda: len(run.checkpoints()) >= checkpoints)
    process.kill()
    process.join()
    return run.folder / "resume" / run.checkpoints()[-1]


def _wait(process: ForkProcess, reached: Callable[[], bool], pause: float = 0.01) -> None:
    """Until `reached`, or the process has ended."""
    while process.is_alive() and not reached():
        time.sleep(pause)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def _the_line(run: Run, words: str) -> str:
    """The one line that says what happened. Raises LostError where there is none, more than one, or a traceback."""
    text = run.output.read_text()
    lines = [line for line in text.splitlines() if words in line]
    if len(lines) != 1 or "Traceback" in text:
        also = " and a traceback" if "Traceback" in text else ""
        raise LostError(f"{len(lines)} lines say {words!r}{also}; see {run.output}")
    return re.sub(r"^\s*\d+ s\s+", "", lines[0]).replace(f"{run.folder}", "…")


if __name__ == "__main__":
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(kills=int(options.get("kills", 20)), seed=int(options.get("seed", 0)))
