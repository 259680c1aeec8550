"""The trials of the crash test: each interrupts one run, lets it finish, and returns a line about what happened."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from scripts.crash_test.runs import LostError, Run, differences, wait

Trial = Callable[[Run], str]


class NotTriedError(Exception):
    """This machine does not allow the trial."""


def trials() -> dict[str, Trial]:
    """Return the trials besides kills by name."""
    return {
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
        wait(process, lambda: len(run.checkpoints()) >= 2)
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
    wait(process, lambda: len(run.checkpoints()) >= checkpoints)
    process.kill()
    process.join()
    return run.newest_tensors()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def _the_line(run: Run, words: str) -> str:
    """Return the one output line with these words. Raises LostError for none, several, or a traceback."""
    text = run.output.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if words in line]
    if len(lines) != 1 or "Traceback" in text:
        also = " and a traceback" if "Traceback" in text else ""
        raise LostError(f"{len(lines)} lines with {words!r}{also}; see {run.output}")
    return re.sub(r"^\s*\d+ s\s+", "", lines[0]).replace(f"{run.folder}", "…")
