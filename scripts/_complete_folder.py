"""Makes a folder that appears when it is complete, so that nothing that was there is overwritten or half written."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dsrl.run.terminal.errors import NO_ROOM, UserError, system_error
from dsrl.run.terminal.signals import Stopped


@contextmanager
def complete_folder(out: Path, made: bool = True) -> Iterator[Path]:
    """Yield a new folder beside `out`, which takes the name `out` at the end and is deleted after an error or SIGTERM.

    `made` False: the caller makes it, as lerobot does, which writes a dataset into a folder of its own. Raises
    UserError where the system cannot make, write or rename it; errors of our own checks, which have no number of the
    system's, pass.
    """
    from safetensors import SafetensorError

    partial = out.with_name(f"{out.name}.{os.urandom(4).hex()}.partial")  # new: nothing of the user's is in it
    again = "type the command again"
    try:
        with _exit_at_sigterm():
            make_folder(partial, out)
            if not made:
                partial.rmdir()
            yield partial
            partial.rename(out)
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(system_error(error, out, again)) from error
    except SafetensorError as error:  # how safetensors words errors of the system
        raise UserError(f"{out} cannot be written ({' '.join(str(error).split())}); make room, then {again}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _exit_at_sigterm() -> Iterator[None]:
    """Raise `Stopped` at a SIGTERM, as `timeout` and SLURM send it; ours alone, and none where another handles it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            raise Stopped(128 + number)
        signal.signal(number, signal.SIG_DFL)  # a worker that was forked: the folder is not its own
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def make_folder(folder: Path, out: Path, *, exist_ok: bool = False) -> None:
    """Make a folder and those above it. Raises UserError that names `out`, as it was typed, where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as error:
        advice = "make room, or name another folder" if error.errno in NO_ROOM else "name another folder"
        raise UserError(f"{out} cannot be made ({error.strerror}); {advice}") from error
