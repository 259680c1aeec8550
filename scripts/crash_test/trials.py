"""The trials of the crash test: each interrupts one run, lets it finish, and returns a line about what happened."""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

from scripts.crash_test.runs import Run, differences

Trial = Callable[[Run], str]

MOMENTS = ("starting", "running", "writing")
STARTING_S = 4.0  # s: within this time a run composes its config, builds its parts or reads a checkpoint


class LostError(Exception):
    """A run did not go on, or did not report in one line what happened."""


class NotTriedError(Exception):
    """This machine does not allow the trial."""


def trials(kills: int, interval: float, rng: random.Random) -> dict[str, Trial]:
    """Return the trials by name; `interval` is the time between two validations (s)."""
    by_kill: dict[str, Trial] = {f"{kills} × SIGKILL": lambda run: kill(run, kills, interval, rng)} if kills else {}
    return {
        **by_kill,
        "truncated checkpoint": lambda run: damage(run, lambda content: content[: len(content) // 2]),
        "checkpoint with a flipped bit": lambda run: damage(run, flipped),
        "full disk": fill_disk,
        "unreachable wandb server": lose_wandb,
    }


def attempt(trial: Trial, run: Run, undisturbed: Run) -> tuple[str, str]:
    """Return what was observed in a trial, and its result: identical, DIFFERENT, FAILED or not tried."""
    try:
        observed = trial(run)
        differing = differences(undisturbed, run)
    except NotTriedError as error:
        return str(error), "not tried"
    except LostError as error:
        return str(error), "FAILED"
    return observed, f"DIFFERENT: {', '.join(differing)}" if differing else "identical"


def kill(run: Run, kills: int, interval: float, rng: random.Random) -> str:
    """Start and kill the run repeatedly, then let it finish; only kills of a living process count.

    `interval` is the time between two validations (s): each process lives for two of them at most.
    """
    died = dict.fromkeys(MOMENTS, 0)
    while sum(died.values()) < kills:
        moment = MOMENTS[sum(died.values()) % len(MOMENTS)]
        process = _started_until(run, moment, interval, rng)
        if not process.is_alive():
            raise LostError(
                f"the run ended by itself after {sum(died.values())} of {kills} kills; type a smaller --kills"
            )
        process.kill()
        process.join()
        died[moment if moment != "writing" or run.is_writing() else "running"] += 1
    if run.finish():
        raise LostError(f"the run does not go on; see {run.output}")
    return ", ".join(f"{number} while {moment}" for moment, number in died.items())


def _started_until(run: Run, moment: str, interval: float, rng: random.Random) -> ForkProcess:
    """Return a process that has reached such a moment; after its start, each gets further than the one before.

    A start is over when the first checkpoint is written.
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
    """Kill the run and change the newest checkpoint's tensors: it must go on from the checkpoint before."""
    newest = _killed_after(run, checkpoints=2)
    newest.write_bytes(change(newest.read_bytes()))
    if run.finish():
        raise LostError(f"the run does not go on; see {run.output}")
    return _the_line(run, "is damaged")


def flipped(content: bytes) -> bytes:
    """Return the content with one bit flipped in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def fill_disk(run: Run) -> str:
    """Fill the run's disk while it runs: it must end with a sentence, and go on when there is room."""
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
        run.remember()
    finally:
        subprocess.run(["umount", "--lazy", str(run.folder)], check=True)
    return line


def lose_wandb(run: Run) -> str:
    """Log to a server that does not exist: the run must report it once and log offline."""
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    if run.finish("logging=wandb", "logging.wandb.timeout=5", environment=nowhere):
        raise LostError(f"the run failed; see {run.output}")
    if not list(run.folder.glob("wandb/offline-run-*/*.wandb")):
        raise LostError(f"nothing was logged offline; see {run.output}")
    return _the_line(run, "wandb is out of reach")


def _killed_after(run: Run, checkpoints: int) -> Path:
    """Return the newest checkpoint's tensors of a run that is killed as soon as it has so many checkpoints."""
    process = run.start()
    _wait(process, lambda: len(run.checkpoints()) >= checkpoints)
    process.kill()
    process.join()
    return run.newest_tensors()


def _wait(process: ForkProcess, reached: Callable[[], bool], pause: float = 0.01) -> None:
    """Wait until `reached`, or until the process has ended."""
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
    """Return the one output line with these words. Raises LostError for none, several, or a traceback."""
    text = run.output.read_text()
    lines = [line for line in text.splitlines() if words in line]
    if len(lines) != 1 or "Traceback" in text:
        also = " and a traceback" if "Traceback" in text else ""
        raise LostError(f"{len(lines)} lines with {words!r}{also}; see {run.output}")
    return re.sub(r"^\s*\d+ s\s+", "", lines[0]).replace(f"{run.folder}", "…")
