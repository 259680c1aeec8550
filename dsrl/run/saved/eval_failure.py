"""Ends an evaluation, or a script that plays worlds, with one sentence, and notes the traceback in its folder."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsrl.run.saved.files import atomic_write
from dsrl.run.terminal.errors import UserError, is_of_system, system_error, type_and_text
from dsrl.run.terminal.signals import Stopped

NAME = "eval_failure.txt"  # a folder with failure.txt is that of a run
AGAIN = "type the command again"


@contextmanager
def noting_failure_in(out: Path, name: str = NAME) -> Iterator[None]:
    """Write the file `name` into `out` when the task, the policy or the system fails in the block.

    Raises UserError, one sentence, in place of that error; what the user typed or has to install has one already, and a
    signal is no failure.
    """
    note = out / name
    try:
        yield
    except (UserError, ImportError, Stopped):
        raise
    except (Exception, SystemExit) as error:
        sentence = type_and_text(error)
        with suppress(OSError):  # a full disk must not hide the error
            out.mkdir(parents=True, exist_ok=True)
            atomic_write(note, f"{sentence}\n\n{traceback.format_exc()}".encode())
        if is_of_system(error):
            raise UserError(system_error(error, out, AGAIN)) from error
        if not note.is_file():
            raise
        raise UserError(f"{sentence} (where: {note}); mend that, then {AGAIN}") from error
    note.unlink(missing_ok=True)  # of an earlier evaluation in the same folder
