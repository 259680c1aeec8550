"""How the jobs of a sweep ended, in words: a block for each that failed, one line per job at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra_plugins.dsrl_launcher._watch import Ended, Job

TAIL = 20  # lines of stderr


def failure_block(ended: Ended) -> str:
    """What failed, where it lies, and the last lines of its stderr."""
    job = ended.job
    tail = [f"    {line}" for line in _lines(ended.log)[-TAIL:]]
    head = [
        f"── job {job.number} failed " + "─" * 50,
        f"  {ended.problem}",
        f"  overrides   {' '.join(text for text in job.overrides if not text.startswith('cluster')) or 'none'}",
        f"  run folder  {job.folder}",
        f"  log         {ended.log}",
    ]
    return "\n".join([*head, *(["  last lines of its stderr:", *tail] if tail else []), "─" * 64])


def table(all_ended: Sequence[Ended]) -> str:
    """One line per job: number, overrides in which the jobs differ, how it ended, score, run folder."""
    jobs = [ended.job for ended in all_ended]
    rows = [("job", "overrides", "ended", "score", "run folder")]
    for ended in all_ended:
        how = "done" if ended.problem is None else "FAILED"
        score = "-" if ended.score is None else f"{ended.score:.4g}"
        rows.append((str(ended.job.number), differing(ended.job, jobs), how, score, str(ended.job.folder)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def differing(job: Job, jobs: Sequence[Job]) -> str:
    """The overrides of a job that not all jobs share."""
    shared = set(jobs[0].overrides).intersection(*(one.overrides for one in jobs))
    return " ".join(text for text in job.overrides if text not in shared) or "-"


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.is_file() else []
