"""Copies code and configs at submission: queued jobs run the copy, whatever is edited afterwards.

multirun/<date>/<time>/.snapshot/<n>/   train.py   conf/   dsrl/   hydra_plugins/   (of a wheel without the first two)
                                        submitted.json (git commit, changed files)   changes.diff, where git gives it
"""

from __future__ import annotations

import copy
import itertools
import os
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl

from dsrl.run.saved.files import write_json
from dsrl.run.saved.provenance import SUBMITTED, git, git_state
from dsrl.run.terminal.installed import CONF, ROOT
from hydra_plugins.dsrl_launcher._private_files import own_folder

CODE = ("train.py", "conf", "dsrl", "hydra_plugins/dsrl_launcher")  # read by a job; assets in dsrl/ belong to it


def make_snapshot(sweep: Path) -> Path:
    """Copy the code into the folder of a sweep; returns the copy's absolute path, a new one for each call."""
    snapshot = _new_folder(own_folder(sweep, ".snapshot"))
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, snapshot / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).is_file():
            shutil.copy2(ROOT / name, snapshot / name)
    write_json(snapshot / SUBMITTED, git_state())
    changes = git("diff", "HEAD", "--", *CODE)
    if changes is not None:  # an empty file says that nothing was changed
        (snapshot / "changes.diff").write_text(changes, encoding="utf-8")
    return snapshot


def loader_on(snapshot: Path, loader: Any) -> ConfigLoaderImpl:
    """Return a config loader that reads the snapshot where `loader` reads the application's own config folder."""
    path = copy.deepcopy(loader.get_search_path())
    for element in path.get_path():
        if element.provider == "main":
            element.path = f"file://{snapshot / CONF.relative_to(ROOT)}"
    return ConfigLoaderImpl(path)


def python_on(snapshot: Path) -> str:
    """Return the shell command that starts Python with the code of `snapshot`.

    Jobs work in the folder of the submission, from which Python would import first without PYTHONSAFEPATH. Their logs
    are UTF-8 in every locale.
    """
    path = os.pathsep.join(filter(None, (str(snapshot), os.environ.get("PYTHONPATH"))))
    return shlex.join(["env", "PYTHONSAFEPATH=1", "PYTHONIOENCODING=utf-8", f"PYTHONPATH={path}", sys.executable])


def _new_folder(parent: Path) -> Path:
    """Make a folder with the first free number as its name; never returns one that exists."""
    for number in itertools.count():
        with suppress(FileExistsError):
            (parent / str(number)).mkdir()
            return parent / str(number)
    raise AssertionError
