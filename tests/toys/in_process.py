"""train.py and eval.py as Hydra starts them, sweeps and searches too, but in the process of the test."""

from __future__ import annotations

import logging
import sys
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton

from dsrl.run.commands import evaluate, train

STARTS = {"train.py": train, "eval.py": evaluate}


def start(script: str, *words: str, cwd: Path) -> str | int | None:
    """Type `words` behind a script in the folder `cwd`; returns the sentence or exit code of an early end."""
    root, singletons = logging.getLogger(), Singleton.get_state()
    handlers, level = list(root.handlers), root.level
    GlobalHydra.instance().clear()
    try:
        with chdir(cwd), patch.object(sys, "argv", [script, *words]):
            STARTS[script]()
    except SystemExit as ended:
        return ended.code
    finally:  # Hydra's own handlers, which write into the run's folder
        for handler in [handler for handler in root.handlers if handler not in handlers]:
            handler.close()
        root.handlers[:], root.level = handlers, level
        Singleton.set_state(singletons)
    return None
