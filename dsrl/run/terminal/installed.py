"""Finds configs and bundled policies, and how commands are typed: in a clone beside the package, in a wheel inside it.

clone    train.py   conf/   scripts/   dsrl/        python train.py     python -m scripts.compare
wheel    dsrl/      dsrl/conf/   dsrl/scripts/      dsrl-train          dsrl-compare
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
ROOT = PACKAGE.parent
IN_CLONE = (ROOT / "conf" / "train.yaml").is_file()
CONF = (ROOT if IN_CLONE else PACKAGE) / "conf"
SCRIPTS = "scripts" if IN_CLONE else "dsrl.scripts"  # for python -m
COMMANDS = ("train", "eval", "compare", "preflight", "export", "doctor")  # dsrl-train, … of a wheel
_OF_A_CLONE = re.compile(r"(?:python -m scripts\.(\w+(?:\.\w+)*))|(?<![\w/.-])(?:python )?(train|eval)\.py\b")
_BUNDLED = re.compile(r"[\w-]+(/\w+)?")
_WORD = r"(?!(?:null|true|false|nan|inf|on|off|yes|no)\Z)[a-z_][\w.-]*"  # neither a number nor what else YAML reads
_PLAIN = re.compile(rf"[\w./-]*/[\w./-]*(?: +[\w./-]+)*|{_WORD}", re.ASCII | re.IGNORECASE)


def bundled(path: str) -> Path | None:
    """Return the folder of the policy that comes with dsrl under the name `path`; None where there is none."""
    folder = PACKAGE / "assets" / path
    return folder if _BUNDLED.fullmatch(path) and os.path.isdir(folder) else None  # False for a name that is too long


def typed(name: str) -> str:
    """Return how train.py, eval.py or a script, such as preflight, is typed."""
    command = name.removesuffix(".py")
    if not IN_CLONE:
        return f"dsrl-{command}" if command in COMMANDS else f"python -m {SCRIPTS}.{command}"
    return f"python {name}" if name.endswith(".py") else f"python -m {SCRIPTS}.{name}"


def typed_option(key: str, value: Path | str) -> str:
    """Return key=value as it is typed for train.py and eval.py: in the quotes of Hydra and in those of the shell."""
    text = str(value)
    if not _PLAIN.fullmatch(text):
        escaped = re.sub(r'\\+(?="|\Z)', lambda found: 2 * found[0], text).replace('"', r"\"")
        text = f'"{escaped}"'
    return shlex.quote(f"{key}={text}")


def as_typed(text: str) -> str:
    """Return a text that names commands of a clone, such as an error or a help page, with those that work here."""
    return text if IN_CLONE else _OF_A_CLONE.sub(lambda found: typed(found[1] or f"{found[2]}.py"), text)
