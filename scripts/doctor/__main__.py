"""Checks whether this machine can run the main job, in one line per check.

    python -m scripts.doctor

    ok      works
    note    the main job runs without it; the line ends with what to type
    FAIL    the main job cannot run; the line ends with what to type

The exit code is 1 if a check fails, else 0. Runs are written into outputs/ below the current folder.
"""

from __future__ import annotations

from collections.abc import Sequence

from scripts._options import Parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per check and a conclusion."""
    Parser(prog="python -m scripts.doctor", description=__doc__).parse_args(arguments)
    from dsrl.run.terminal.installed import typed
    from dsrl.run.terminal.standard_output import lasting_output
    from scripts.doctor import machine, packages, services
    from scripts.doctor.findings import print_all

    with lasting_output():
        able = print_all([*packages.CHECKS, *machine.CHECKS, *services.CHECKS])
        ending = f"can run: {typed('train.py')}" if able else "cannot run before each FAIL is mended"
        print(f"\nthe main job {ending}")
    raise SystemExit(0 if able else 1)


if __name__ == "__main__":
    main()
