"""Command-line options: types that check their range, and a parser whose errors are one sentence."""

from __future__ import annotations

import argparse
import math
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

LARGEST_SEED = 2**31 - 1


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that prints its description as written, and an error as one sentence without the usage."""

    def __init__(self, **options: Any) -> None:
        from dsrl.run.terminal.installed import as_typed
        from dsrl.run.terminal.standard_output import show_unknown_characters

        called = Path(sys.argv[0]).name
        if called.startswith("dsrl-"):  # a console command, which a clone can have too
            options["description"] = str(options.get("description", "")).replace(str(options.get("prog")), called)
            options["prog"] = called
        elif "prog" in options:
            options["prog"] = as_typed(options["prog"])
        show_unknown_characters()  # in the help page and in all that the program prints
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def format_help(self) -> str:
        """Return the help page with the commands of this installation."""
        from dsrl.run.terminal.installed import as_typed

        return as_typed(super().format_help())

    def print_help(self, file: Any = None) -> None:
        """Print the help page, to nobody where the reader has gone."""
        from dsrl.run.terminal.standard_output import lasting_output

        with lasting_output():
            super().print_help(file)

    def error(self, message: str) -> NoReturn:
        """End the program with exit code 2."""
        self.exit(2, f"error: {self._sentence(message)}\n")

    def _sentence(self, message: str) -> str:
        unknown = re.fullmatch(r"unrecognized arguments: (\S+).*", message, re.DOTALL)
        if unknown:
            name, equals, value = unknown[1].partition("=")
            if name == "--config-dir" and any(action.dest == "overrides" for action in self._actions):
                return "--config-dir is of train.py and eval.py; type 'hydra.searchpath=[file:///path/of/folder]'"
            if equals and f"--{name}" in self._option_string_actions:
                return f"{unknown[1]} is no option; type --{name} {value}"
            return f"{unknown[1]} is no option; --help lists all of them"
        message = re.sub(r"^argument (?:-\w/)?(\S+): ", r"\1 ", message)
        choice = re.fullmatch(r"(\S+) invalid choice: (.*?) \(choose from (.*)\)", message)
        if choice:
            return f"{choice[1]} {choice[2]} is unknown; choose one of {choice[3]}"
        return message


def whole(low: int, high: int = LARGEST_SEED) -> Callable[[str], int]:
    """Return the type of whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number; type one from {low} to {high}") from None
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{number} is out of range; type a whole number from {low} to {high}")
        return number

    return parse


def real(low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> Callable[[str], float]:
    """Return the type of finite numbers from `low` to `high`; an open end is excluded."""
    bounds = f"{'above' if open_low else 'from'} {low:g} {'and below' if open_high else 'to'} {high:g}"

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number; type one {bounds}") from None
        inside = low <= number <= high and not (open_low and number == low) and not (open_high and number == high)
        if not (math.isfinite(number) and inside):
            raise argparse.ArgumentTypeError(f"{text} is out of range; type a number {bounds}")
        return number

    return parse


count = whole(1)
"""At least one."""
seed = whole(0)
rate = real(0.0, 1.0, open_low=True)
"""A learning rate."""
finite = real(-1e12, 1e12)


def device(text: str) -> str:
    """Parse the name of a device of torch."""
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no device; type cpu or cuda")
    return text


def _reachable(parse: Callable[[str], Path]) -> Callable[[str], Path]:
    """Word an error of the system at a path, such as a name that is too long, as one of what was typed."""

    @wraps(parse)
    def parsed(text: str) -> Path:
        try:
            return parse(text)
        except OSError as error:
            raise argparse.ArgumentTypeError(f"{text} cannot be used ({error.strerror}); name another path") from error

    return parsed


@_reachable
def new_folder(text: str) -> Path:
    """Parse the path of a folder that does not exist yet."""
    path = Path(text)
    if path.exists() or path.is_symlink():
        raise argparse.ArgumentTypeError(f"{text} exists already; name a new folder or delete it")
    return _below_folders(path)


@_reachable
def out_folder(text: str) -> Path:
    """Parse the path of a folder to write into, which may exist."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file; name a folder")
    return _below_folders(path)


@_reachable
def out_file(text: str) -> Path:
    """Parse the path of a file to write, in a folder that exists."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} lies in no existing folder; make {path.parent} first")
    return path


@_reachable
def folder(text: str) -> Path:
    """Parse the path of a folder that exists."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder; type the path of an existing one")
    return path


def _below_folders(path: Path) -> Path:
    """Return the same path. Raises ArgumentTypeError where a file stands in its way."""
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise argparse.ArgumentTypeError(f"{path} cannot be made because {above} is a file; name another folder")
    return path


@contextmanager
def ending_in_a_sentence(*errors: type[Exception]) -> Iterator[None]:
    """End the program with one sentence and exit code 1 on a UserError, an error of the system or one of `errors`.

    The block goes on where nobody reads what it prints any more, as behind `| head`.
    """
    from dsrl.run.terminal.errors import UserError, sentence, system_error
    from dsrl.run.terminal.standard_output import lasting_output

    own: tuple[type[Exception], ...] = (UserError, *errors)
    caught: tuple[type[Exception], ...] = (*own, OSError)
    try:
        with lasting_output():
            yield
    except caught as error:
        text = str(error)
        if isinstance(error, OSError) and error.errno is not None:
            text = system_error(error, "a file", "type the command again")
        elif not isinstance(error, own):
            raise
        raise SystemExit(f"error: {sentence(text)}") from None
    except KeyboardInterrupt:
        print("stopped at once", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
