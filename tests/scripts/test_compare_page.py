"""The report in a real browser: no console error and no network request."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.browser import CHROMIUM, visit
from toys.run_folders import write_run

from scripts.compare import __main__ as compare

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


def test_a_visit_records_console_errors_and_requests(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><img src='http://example.com/x.png'><script>nope()</script>")
    visited = visit(page, tmp_path / "profile")
    assert any("nope is not defined" in line for line in visited.console)
    assert "http://example.com/x.png" in visited.requests


@pytest.mark.parametrize("embed", [True, False], ids=["videos embedded", "videos linked"])
def test_the_report_opens_without_console_error_or_request(
    embed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"run {seed}", seed=seed, curve=[0.2, 0.5, 0.6], film=True)
    write_run(tmp_path / "2", seed=2, finished=False)
    if not embed:
        monkeypatch.setattr("scripts.compare.page.EMBEDDED", 0)
    compare.main([str(tmp_path), "--title", "Is <alpha> & co. worth it?"])
    visited = visit(tmp_path / "compare" / "report.html", tmp_path / "profile")
    assert visited.console == []
    assert visited.requests == []
    assert "Is &lt;alpha&gt; &amp; co. worth it?" in visited.dom
    assert visited.dom.count("<svg") == 2
    assert visited.dom.count("<video") == 2
    assert ("../run%200/base_vs_steered.mp4" in visited.dom) != embed


@pytest.mark.parametrize(
    ("num", "title", "lead"),
    [(1, "Comparison of 1 run<", "runs that count: 1 of 1 · 1 method ·"), (2, "Comparison of 2 runs<", "2 of 2")],
)
def test_the_title_and_the_line_below_count_in_singular_and_plural(
    num: int, title: str, lead: str, tmp_path: Path
) -> None:
    for seed in range(num):
        write_run(tmp_path / f"{seed}", seed=seed, curve=[0.2, 0.5])
    compare.main([str(tmp_path)])
    page = (tmp_path / "compare" / "report.html").read_text()
    assert title in page
    assert lead in page
