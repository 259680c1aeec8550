"""Digests of the files that a config names by path: a policy, recorded data. Loads neither of them.

policy.path=pol/base    ->  policy_files_sha256: names and contents of the files below pol/base, without a README.md
offline_data=owner/set  ->  nothing: a dataset of the Hugging Face hub
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dsrl.run.saved.files import sha256_of
from dsrl.run.terminal.installed import bundled

FILES_SHA256 = "_files_sha256"  # the end of a digest's name
FOR_READERS = ("readme", "license", "notice")  # files by these names, with any ending, are read by people alone
SHORT = 16  # characters of a digest, which a sentence shows


def digests(named: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> digest of files; `named` maps what they are, such as policy, to their path, or to None.

    Left out are names without a file here. Raises ValueError where the system refuses to read one.
    """
    found: dict[str, str] = {}
    for name, path in named.items():
        if isinstance(path, str):
            try:
                digest = _digest((name == "policy" and bundled(path)) or Path(path))
            except OSError as error:
                raise ValueError(f"{error.filename or path} cannot be read ({error.strerror}); mend that") from error
            found |= {} if digest is None else {f"{name}{FILES_SHA256}": digest}
    return found


def _digest(root: Path) -> str | None:
    """Return the digest of a file, or of the files in a folder; None where there is none.

    Left out of a folder are hidden files and those that people alone read: `*.md`, README, LICENSE and NOTICE.
    """
    names = sorted(_files(root))
    text = "".join(f"{name}\0{sha256_of(file)}\n" for name, file in names)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:SHORT] if names else None


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name inside the folder and the path of every file that counts."""
    for file in (root, *root.rglob("*")):
        inside = file.relative_to(root)
        hidden = any(part.startswith(".") for part in inside.parts)
        read = inside.suffix.lower() == ".md" or inside.stem.lower() in FOR_READERS
        if file.is_file() and not hidden and not read:
            yield inside.as_posix(), file
