"""The code and configs of a submission, copied so that what is queued runs as it was when it was submitted.

multirun/<date>/<time>/.snapshot/<n>/   train.py   conf/   dsrl/   hydra_plugins/
                                        submitted.json (git commit, changed files)   changes.diff
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from dsrl.run.files import write_json
from dsrl.run.provenance import ROOT, SUBMITTED, git, git_state

CODE = ("train.py", "conf", "dsrl", "hydra_plugins")  # what a job imports and reads; assets in dsrl/ belong to it


def freeze(sweep: Path) -> Path:
    """Copy the code into the folder of a sweep; returns the copy's absolute path, a new one for each call."""
    snapshots = sweep / ".snapshot"
    snapshots.mkdir(parents=True, exist_ok=True)
    snapshot = (snapshots / str(len(list(snapshots.iterdir())))).absolute()
    snapshot.mkdir()
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, snapshot / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).is_file():
            shutil.copy2(ROOT / name, snapshot / name)
    write_json(snapshot / SUBMITTED, git_state())
    (snapshot / "changes.diff").write_text(git("diff", "HEAD", "--", *CODE) or "")
    return snapshot


def python_on(snapshot: Path) -> str:
    """The shell command that starts Python with the code of `snapshot`.

    Jobs work in the folder of the submission, from which Python would import first if it were not told otherwise.
    """
    path = os.pathsep.join(filter(None, (str(snapshot), os.environ.get("PYTHONPATH"))))
    return shlex.join(["env", "PYTHONSAFEPATH=1", f"PYTHONPATH={path}", sys.executable])
