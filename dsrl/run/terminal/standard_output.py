"""Lets a program go on when its output cannot be written.

The reader of a pipe has gone, the disk is full, or the terminal's encoding lacks a character.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class LastingStream:
    """A text stream that passes text on until the system refuses it, and drops all text from then on."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` has a file descriptor, such as standard output."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write or drop a text; returns its length."""
        try:
            self._stream.write(text)
        except OSError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Write or drop what is buffered."""
        try:
            self._stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Lead the descriptor to nowhere: what is buffered, and the interpreter's last flush, would fail again."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError, ValueError):  # a stream without a descriptor
            os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def show_unknown_characters() -> None:
    """Let standard output have ? for characters that its encoding lacks, in a locale without UTF-8."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)  # a stream that is no file of the system may lack it
    if reconfigure is not None:
        reconfigure(errors="replace")


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let the block print to standard output and standard error whether or not anybody reads them."""
    show_unknown_characters()
    previous = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
    lasting: list[Any] = [stream and LastingStream(stream) for stream in previous[:2]]
    sys.stdout, sys.stderr = lasting
    sys.__stdout__, sys.__stderr__ = lasting  # type: ignore[misc]  # Genesis takes it for a notebook where they differ
    try:
        yield
    finally:
        for stream in filter(None, lasting):
            stream.flush()
        sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = previous  # type: ignore[misc]
