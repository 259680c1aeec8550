"""Checks of services that only some runs use: SLURM and wandb."""

from __future__ import annotations

import netrc
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlparse

from scripts.doctor.findings import Check, Finding

SINFO_SECONDS = 10
WANDB_URL = "https://api.wandb.ai"  # wandb's own default


def slurm() -> Finding:
    """Return whether SLURM's commands are installed and its controller answers."""
    missing = [name for name in ("sbatch", "sinfo") if shutil.which(name) is None]
    if len(missing) == 2:
        return Finding("note", "sbatch and sinfo are not installed", "cluster=local works without them")
    if missing:
        return Finding("note", f"{missing[0]} is not installed", "cluster=slurm needs it; cluster=local works")
    command = ["sinfo", "--noheader", "--format=%P"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SINFO_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding("note", f"its controller has not answered for {SINFO_SECONDS} s", "type: scontrol ping")
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        return Finding("note", f"sinfo fails ({reason[:120]})", "type: scontrol ping")
    return Finding("ok", f"partitions {', '.join(done.stdout.split()) or 'none'}")


def wandb() -> Finding:
    """Return whether wandb has an API key for its server, in the environment or in .netrc, if it is to be reached."""
    mode = os.environ.get("WANDB_MODE", "")
    if mode in ("offline", "disabled"):
        return Finding("ok", f"not needed with WANDB_MODE={mode}")
    if os.environ.get("WANDB_API_KEY"):
        return Finding("ok", "logged in by WANDB_API_KEY")
    host = urlparse(os.environ.get("WANDB_BASE_URL") or WANDB_URL).hostname or ""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if path.is_file() and netrc.netrc(path).authenticators(host):
        return Finding("ok", f"logged in at {host} by {path}")
    return Finding("note", "not logged in; logging=wandb needs it", "type: wandb login (or logging.wandb.mode=offline)")


CHECKS = [Check("SLURM", slurm, needed=False), Check("wandb login", wandb, needed=False)]
