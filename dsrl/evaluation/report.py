"""What is left after a run for people to look at: a table, a picture and `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.summary import by_instruction, summary


@dataclass(frozen=True)
class CurvePoint:
    """A validation during training."""

    env_steps: int
    decisions: int
    evaluation: Evaluation


def summary_table(rows: Mapping[str, Evaluation]) -> Table:
    """One row per evaluated policy: success with its 95 % interval, mean return, mean length."""
    table = Table("policy", "success", "95 % interval", "mean return", "mean length", "episodes")
    for name, evaluation in rows.items():
        figures = summary(evaluation)
        success = interval = "-"
        if figures["ci95"] is not None:
            success = f"{figures['success_rate']:.1%}"
            interval = "{:.1%} … {:.1%}".format(*figures["ci95"])
        lengths = f"{figures['mean_return']:.2f}", f"{figures['mean_length']:.1f}", str(figures["episodes"])
        table.add_row(name, success, interval, *lengths)
    return table


def paired_sentence(pair: Mapping[str, Any]) -> str:
    """The outcome of a paired comparison, see `dsrl.evaluation.episodes.paired`, in words."""
    return (
        f"same worlds: {pair['only_steered']} won and {pair['only_base']} lost by steering, {pair['both']} solved by "
        f"both, {pair['neither']} by neither; exact McNemar test p = {pair['p_value']:.2g}"
    )


def instruction_table(base: Evaluation | None, asked: Evaluation) -> Table:
    """One row per instruction: success (or mean return) in its worlds, hardest first."""
    before = {} if base is None else by_instruction(base)
    table = Table("instruction", "worlds", *(["base"] if base else []), "result", "95 % interval")
    for text, figures in sorted(by_instruction(asked).items(), key=lambda item: score_of(item[1])):
        interval = "-" if figures["ci95"] is None else "{:.1%} … {:.1%}".format(*figures["ci95"])
        cells = [_words(before[text])] if base else []
        table.add_row(text or "(none)", str(figures["episodes"]), *cells, _words(figures), interval)
    return table


def runs_table(folders: Sequence[Path]) -> Table:
    """One row per run, from its eval.json: what it reached, the base policy in the same worlds, the paired test."""
    table = Table(Column("run", overflow="fold"), "result", "95 % interval", "base", "McNemar p", "episodes")
    for folder in folders:
        written = json.loads((folder / "eval.json").read_text())
        figures, base, pair = written["result"], written["base"], written["paired"]
        interval = "-" if figures["ci95"] is None else "{:.1%} … {:.1%}".format(*figures["ci95"])
        p_value = "-" if not pair else f"{pair['p_value']:.2g}"
        row = (_words(figures), interval, "-" if not base else _words(base), p_value, str(figures["episodes"]))
        table.add_row(str(folder), *row)
    return table


def score_of(figures: Mapping[str, Any]) -> float:
    """The success rate among the figures of an evaluation, or the mean return where the task knows no success."""
    rate: float = figures["mean_return"] if figures["success_rate"] is None else figures["success_rate"]
    return rate


def _words(figures: Mapping[str, Any]) -> str:
    rate = score_of(figures)
    return f"{rate:.2f}" if figures["success_rate"] is None else f"{rate:.1%}"


def shown(evaluation: Evaluation) -> str:
    """The score as a person reads it."""
    if evaluation.successes is None:
        return f"mean return {evaluation.score:.1f}"
    return f"success {evaluation.score:.1%}"


def draw_learning_curve(path: Path, curve: Sequence[CurvePoint], base: Evaluation | None, steered: Evaluation) -> None:
    """Score of the validations over environment steps, between the base policy and the final evaluation."""
    from matplotlib.figure import Figure  # draws without a display, and takes seconds to import

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="environment steps in training", ylabel=_score_name(steered))
    steps = [point.env_steps for point in curve]
    if steered.successes is not None:
        intervals = [summary(point.evaluation)["ci95"] for point in curve]
        axes.fill_between(steps, [low for low, _ in intervals], [high for _, high in intervals], alpha=0.2)
        axes.set_ylim(-0.02, 1.02)
    axes.plot(steps, [point.evaluation.score for point in curve], marker="o", label="validation")
    if base is not None:
        axes.axhline(base.score, color="grey", linestyle="--", label=f"base policy: {base.score:.3g}")
    axes.axhline(steered.score, color="tab:green", linestyle=":", label=f"best, final evaluation: {steered.score:.3g}")
    axes.legend(loc="best")
    figure.savefig(path, dpi=120)


def _score_name(evaluation: Evaluation) -> str:
    return "mean return" if evaluation.successes is None else "success rate (95 % interval)"
