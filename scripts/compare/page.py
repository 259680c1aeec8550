"""Writes the comparison as one HTML file that opens offline: plots inline, videos embedded or linked, no script.

Everything from run folders is printable and escaped.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from dsrl.run.saved.files import atomic_write
from scripts.compare import plots, tables
from scripts.compare.methods import Comparison
from scripts.compare.run_files import one_line
from scripts.compare.tables import Table

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]\d+)?%?")
EMBEDDED = 24 * 2**20  # bytes of all videos up to which they are embedded; above, the page links to the run folders

STATES = ("failed", "unfinished", "superseded", "damaged")  # cells with a class of their own

ALONE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data: file: 'self'"  # no network

STYLE = """
:root { --ink: #1b1f24; --soft: #5b6470; --line: #e3e7ec; --paper: #fff; --tint: #f6f8fa; --mark: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--tint); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 17px; margin: 0 0 12px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 20px 22px; margin-top: 18px; }
.lead { color: var(--soft); margin: 4px 0 0; }
.note { color: var(--soft); font-size: 13px; margin: 12px 0 0; }
.care { border-left: 4px solid #e69f00; }
.care ul { margin: 0; padding-left: 20px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
th, td { padding: 6px 14px 6px 0; vertical-align: top; }
td { border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
td:first-child { overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; }
.failed, .damaged { color: #b3261e; font-weight: 600; }
.unfinished { color: #9a6700; font-weight: 600; }
.superseded { color: var(--soft); }
svg { max-width: 100%; height: auto; display: block; margin: 14px auto 0; }
td:first-child { min-width: 12ch; }
.videos { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 18px; }
figure { margin: 0; }
figcaption { font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
video { width: 100%; border-radius: 6px; background: #000; }
summary { cursor: pointer; font-weight: 600; }
details[open] summary { margin-bottom: 12px; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""

HOW = (
    "Bars are 95 % stratified-bootstrap intervals over seeds, thick ticks the interquartile mean (IQM), dots single "
    "runs, thin black ticks the base policy on the same worlds. Definitions: Agarwal et al. 2021, arXiv 2108.13264."
)
HOW_CURVES = (
    "Thick: IQM over seeds of the validation score, with its interval where there are several seeds. Thin: single "
    "runs. Every thick curve ends where its shortest run ends."
)
HOW_PROBABLE = "How often a run of the first method scores higher than a run of the second one; ties count half."


def write(comparison: Comparison, pairs: Table | None, path: Path, title: str) -> None:
    """Write the page, with the table `pairs` of improvements; too large videos are linked relative to `path`."""
    text = "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{ALONE}">',
            '<link rel="icon" href="data:,">',  # else a browser asks for /favicon.ico
            f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            *_sections(comparison, pairs, path.parent, title),
            "</main>\n</body>\n</html>\n",
        ]
    )
    atomic_write(path, text.encode())


def _sections(comparison: Comparison, pairs: Table | None, here: Path, title: str) -> Iterable[str]:
    yield f"<h1>{html.escape(title)}</h1>\n<p class='lead'>{html.escape(_lead(comparison))}</p>"
    warnings = tables.warnings(comparison)
    if warnings:
        items = "".join(f"<li>{html.escape(one)}</li>" for one in warnings)
        yield f"<section class='care'><h2>Limits of these numbers</h2><ul>{items}</ul></section>"
    picture = plots.svg(plots.plot_scores(comparison), "scores")
    yield _section(tables.scores(comparison), below=picture + _note(HOW))
    yield _section(tables.missing(comparison.runs, comparison.names))
    curves = plots.plot_curves(comparison)
    if curves is not None:
        yield f"<section><h2>Learning curves</h2>{plots.svg(curves, 'curves')}{_note(HOW_CURVES)}</section>"
    for over in ("env_steps", "wall_time_s"):
        yield _section(tables.learning(comparison, over))
    yield _section(pairs, below=_note(HOW_PROBABLE))
    yield _videos(comparison, here)
    yield _section(tables.config_differences(comparison))
    yield _section(tables.all_runs(comparison), folded=True)
    yield _section(tables.environments(comparison), folded=True)


def _lead(comparison: Comparison) -> str:
    finished, methods = sum(run.state == "finished" for run in comparison.runs), len(comparison.methods)
    words = f"runs that count: {finished} of {len(comparison.runs)} · {methods} method{'s' * (methods != 1)}"
    return f"{words} · {', '.join(comparison.tasks)}"


def _section(table: Table | None, *, below: str = "", folded: bool = False) -> str:
    if table is None:
        return ""
    body = f"<div class='scroll'>{_table(table)}</div>{below}"
    title = html.escape(table.title)
    if folded:
        return f"<section><details><summary>{title}</summary>{body}</details></section>"
    return f"<section><h2>{title}</h2>{body}</section>"


def _table(table: Table) -> str:
    numeric: list[bool] = [all(_is_number(row[column]) for row in table.rows) for column in range(len(table.head))]
    head = "".join(
        f"<th{_right(right)}>{html.escape(word)}</th>" for word, right in zip(table.head, numeric, strict=True)
    )
    rows = []
    for row in table.rows:
        cells = []
        for word, right in zip(row, numeric, strict=True):
            state = f" class='{word}'" if word in STATES else _right(right)
            cells.append(f"<td{state}>{html.escape(word)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _right(right: bool) -> str:
    return " class='number'" if right else ""


def _is_number(word: str) -> bool:
    return word == "-" or all(map(NUMBER.fullmatch, word.split(" … ")))


def _note(text: str) -> str:
    return f"<p class='note'>{html.escape(text)}</p>"


def _videos(comparison: Comparison, here: Path) -> str:
    """Return the videos of base and steered policy."""
    found = [(run, video) for run in comparison.runs if (video := run.video) is not None]
    if not found:
        return ""
    embed = sum(video.stat().st_size for _, video in found) <= EMBEDDED
    parts = []
    for run, video in found:
        method, task = comparison.names[run.path]
        caption = html.escape(one_line(f"{method} · {task} · seed {run.seed} · {run.path.name}"))
        source = _embedded(video) if embed else quote(os.fsencode(os.path.relpath(video, here)))
        player = f"<video src='{source}' controls loop muted playsinline preload='metadata'></video>"
        parts.append(f"<figure>{player}<figcaption>{caption}</figcaption></figure>")
    title = "Base policy (left) and steered policy (right) in the same worlds"
    return f"<section><h2>{title}</h2><div class='videos'>{''.join(parts)}</div></section>"


def _embedded(video: Path) -> str:
    return f"data:video/mp4;base64,{base64.b64encode(video.read_bytes()).decode()}"
