"""The report in a real browser: no error on its console, nothing asked of the network."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from run_folders import write_run

from scripts import compare

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@dataclass(frozen=True)
class Visit:
    dom: str
    console: list[str]
    requests: list[str]  # what the page asked of the network, whether it answered or not


def _visit(page: Path, profile: Path) -> Visit:
    log = profile / "net.json"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]
    command += [f"--user-data-dir={profile}", f"--log-net-log={log}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--virtual-time-budget=2000", "--enable-logging=stderr", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
    asked = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    own = [one["url"] for one in asked if "url" in one and one.get("initiator", "not an origin") != "not an origin"]
    return Visit(done.stdout, console, own)


def test_the_visit_sees_console_errors_and_requests(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><img src='http://example.com/x.png'><script>nope()</script>")
    visit = _visit(page, tmp_path / "profile")
    assert any("nope is not defined" in line for line in visit.console)
    assert "http://example.com/x.png" in visit.requests


@pytest.mark.parametrize("embed", [True, False], ids=["films inside", "films linked"])
def test_the_report_opens_without_console_error_or_request(
    embed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"run {seed}", seed=seed, curve=[0.2, 0.5, 0.6], film=True)
    write_run(tmp_path / "2", seed=2, finished=False)
    if not embed:
        monkeypatch.setattr("dsrl.compare.page.EMBEDDED", 0)
    compare.main([str(tmp_path), "--title", "Is <alpha> & co. worth it?"])
    visit = _visit(tmp_path / "compare" / "report.html", tmp_path / "profile")
    assert visit.console == []
    assert visit.requests == []
    assert "Is &lt;alpha&gt; &amp; co. worth it?" in visit.dom
    assert visit.dom.count("<svg") == 2
    assert visit.dom.count("<video") == 2
    assert ("../run%200/base_vs_steered.mp4" in visit.dom) != embed
