"""Names of the files of a checkpoint, apart from what reads them: checks of a folder come before torch is loaded."""

from __future__ import annotations

import re

from dsrl.run.saved.files import completed_name

MANIFEST = "manifest.json"
FILE = re.compile(r"[0-9a-f]{16}\.(safetensors|json)")
PARTIAL = "safetensors.partial"


def is_own(name: str) -> bool:
    """Return whether a checkpoint has a file of this name, partial ones included."""
    complete = completed_name(name) or name
    return FILE.fullmatch(complete) is not None or complete in (MANIFEST, PARTIAL)
