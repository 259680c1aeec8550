"""Opens a page in headless Chromium and returns its DOM, console messages and network requests."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")


@dataclass(frozen=True)
class Visit:
    dom: str
    console: list[str]
    requests: list[str]  # URLs that the page requested, answered or not


def visit(page: Path, profile: Path) -> Visit:
    log = profile / "net.json"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]
    command += [f"--user-data-dir={profile}", f"--log-net-log={log}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--virtual-time-budget=2000", "--enable-logging=stderr", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
    asked = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    own = [one["url"] for one in asked if "url" in one and one.get("initiator", "not an origin") != "not an origin"]
    return Visit(done.stdout, console, own)
