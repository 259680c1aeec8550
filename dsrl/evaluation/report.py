"""Presents the results of a run: tables of at most 80 columns, sentences and the picture of the learning curve.

Evaluation -> rows of a table | a sentence | learning_curve.png
"""

from __future__ import annotations

import io
import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from dsrl.evaluation.digits import fixed, p_value_text, with_interval
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.starts import NOT_REPEATED
from dsrl.evaluation.statistics import mean_interval, sign_flip_test
from dsrl.evaluation.summary import by_instruction, paired, summary, unpaired

LABELS = {
    "base_actor_noise": "base (actor's noise)",
    "zero_noise": "base (w = 0)",
    "best": "steered",
    "last": "steered (last)",
    "none": "base",
}
"""Result of a run, or checkpoint of eval.py -> the name of its row, where that differs."""

_SHORTEST = 8  # columns that names keep in a table
_UNLIMITED = 10_000  # columns
_LEGEND = 80  # letters of a line below the learning curve
_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class CurvePoint:
    """A validation during training."""

    env_steps: int
    decisions: int
    evaluation: Evaluation
    gradient_steps: int = 0  # 0 also where an earlier version has not stored it


def summary_table(rows: Mapping[str, Evaluation]) -> Table:
    """One row per evaluated policy: success, the means of return and control steps, and the 95 % interval.

    It is that of the success rate, or of the mean return where the task defines no success.
    """
    table = _table("policy", "success", "95% interval", "return", "steps", "episodes")
    for name, evaluation in rows.items():
        numbers = summary(evaluation)
        if evaluation.successes is None:
            success = "-"
            mean, interval = with_interval(numbers["mean_return"], mean_interval(evaluation.returns), 2)
        else:
            success, interval = f"{numbers['success_rate']:.1%}", _interval(numbers)
            mean = fixed(numbers["mean_return"], 2)
        counts = f"{numbers['mean_length']:.1f}", str(numbers["episodes"])
        table.add_row(Text(LABELS.get(name, name)), success, interval, mean, *counts)
    return table


def comparison_sentence(base: Evaluation, steered: Evaluation) -> str:
    """The outcome of a comparison in words: paired where both policies met the same worlds."""
    apart, pair = unpaired_sentence(base, steered), paired(base, steered)
    return apart or (returns_sentence(base, steered) if pair is None else paired_sentence(pair))


def unpaired_sentence(base: Evaluation | None, steered: Evaluation) -> str | None:
    """The outcome of a comparison in different worlds, in words; None where seeds repeated them, or without a base."""
    found = base and unpaired(base, steered)
    if not found:
        return None
    return (
        f"{NOT_REPEATED}: base and steered played different ones; if both were equally good, a difference this "
        f"large would appear with probability {found['p_value']:.2g} ({found['test']}, unpaired)"
    )


def not_repeated(one: Evaluation, other: Evaluation) -> str | None:
    """A warning at the start of a run, from two evaluations of the same seeds; None where these repeat the worlds."""
    if one.same_worlds(other):
        return None
    return f"{NOT_REPEATED}: policies are compared in different ones, by unpaired tests, which need more episodes"


def paired_sentence(pair: Mapping[str, Any]) -> str:
    """The outcome of a paired comparison, see `dsrl.evaluation.summary.paired`, in words."""
    worlds = sum(pair[outcome] for outcome in ("both", "only_steered", "only_base", "neither"))
    return (
        f"of the same {worlds} worlds, both policies solved {pair['both']}, only the steered one "
        f"{pair['only_steered']}, only the base {pair['only_base']}, neither {pair['neither']}; if both were equally "
        f"good, a difference this large would appear with probability {pair['p_value']:.2g} (exact McNemar test)"
    )


def returns_sentence(base: Evaluation, steered: Evaluation) -> str:
    """The outcome of a paired comparison of mean returns, in words."""
    differences = [after - before for before, after in zip(base.returns, steered.returns, strict=True)]
    p_value = sign_flip_test(differences, two_sided=True)
    change = fixed(sum(differences) / len(differences), 2, "+")
    return (
        f"in the same {len(differences)} worlds the mean return changes by {change}; if both were equally good, a "
        f"difference this large would appear with probability {p_value:.2g} (sign-flip test)"
    )


def instruction_table(base: Evaluation | None, result: Evaluation) -> Table:
    """One row per instruction: success (or mean return) in its worlds, hardest first."""
    before = {} if base is None else by_instruction(base)
    table = _table("instruction", "worlds", *(["base"] if base else []), "result", "95% interval")
    for text, numbers in sorted(by_instruction(result).items(), key=lambda item: score_of(item[1])):
        cells = [_score(before[text]) if text in before else "-"] if base else []  # "-": met by no seed of the base
        table.add_row(Text(text or "(none)"), str(numbers["episodes"]), *cells, _score(numbers), _interval(numbers))
    return table


def runs_table(folders: Sequence[Path], evaluations: Sequence[Path]) -> Table:
    """One row per run, from its eval.json: its result, the base policy's in the same worlds, the paired test.

    `evaluations` are the folders with eval.json, one of each run. Runs are named relative to the folder that
    all of them lie in, which is the title.
    """
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    parent = Path(os.path.commonpath([path.parent for path in paths]))
    table = _table("run", "result", "95% interval", "base", "McNemar p", "episodes", title=Text(f"runs in {parent}"))
    for path, evaluation in zip(paths, evaluations, strict=True):
        written = json.loads((evaluation / "eval.json").read_text(encoding="utf-8"))
        numbers, base = written["result"], written["base"]
        row = (_score(numbers), _interval(numbers), "-" if not base else _score(base), p_value_text(written))
        table.add_row(Text(str(path.relative_to(parent))), *row, str(numbers["episodes"]))
    return table


class _Report(Table):
    """A table that is nowhere cut: where its numbers leave no room for names, each entry is a line of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table, or the lines where it would not fit."""
        names = max(cell_len(str(cell)) for cell in [self.columns[0].header, *self.columns[0].cells])
        drawn = self.__rich_measure__(console, options.update(width=_UNLIMITED)).maximum
        if drawn - names + min(names, _SHORTEST) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        yield from [] if self.title is None else [Text(str(self.title), overflow="fold", no_wrap=False)]
        for row in zip(*(column.cells for column in self.columns), strict=True):
            lines = [f"{column.header}: {cell}" for column, cell in zip(self.columns, row, strict=True)]
            yield Text("\n".join(["", *lines]), overflow="fold", no_wrap=False)


def _table(first: str, *numbers: str, title: Text | None = None) -> Table:
    """An empty table whose first column takes the space that its numbers leave and is folded, never cut."""
    columns = [Column(name, justify="right", no_wrap=True) for name in numbers]
    return _Report(
        Column(first, overflow="fold"), *columns, box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left"
    )


def score_of(numbers: Mapping[str, Any]) -> float:
    """The success rate among the numbers of an evaluation, or the mean return where the task defines no success."""
    rate: float = numbers["mean_return"] if numbers["success_rate"] is None else numbers["success_rate"]
    return rate


def _score(numbers: Mapping[str, Any]) -> str:
    rate = score_of(numbers)
    return fixed(rate, 2) if numbers["success_rate"] is None else f"{rate:.1%}"


def _interval(numbers: Mapping[str, Any]) -> str:
    return "-" if numbers["ci95"] is None else "{:.1%}–{:.1%}".format(*numbers["ci95"])


def shown(evaluation: Evaluation) -> str:
    """The score in words."""
    if evaluation.successes is None:
        return f"mean return {fixed(evaluation.score, 1)}"
    return f"success {evaluation.score:.1%}"


def no_success(base: Evaluation, prior: Evaluation) -> str | None:
    """Return a warning where the actor's noise solved no world; None where that may be chance, or it solved some.

    The worlds that the base policy's own noise solved decide: k of them, and none the other way round, have probability
    2^-k if both noises are equally good (exact one-sided McNemar test).
    """
    if base.successes is None or prior.successes is None or any(prior.successes):
        return None
    solved, worlds = sum(base.successes), len(base.seeds)
    if not solved:
        return (
            f"the base policy solved none of {worlds} worlds: steering cannot help where no noise succeeds; "
            "python -m scripts.preflight measures whether any does"
        )
    if 0.5**solved >= _SIGNIFICANCE:
        return None
    return (
        f"the base policy solved {solved} of {worlds} worlds, and none under random noise that the actor can choose: "
        "raise noise.magnitude, or type another noise; python -m scripts.preflight measures them"
    )


def learning_curve(
    curve: Sequence[CurvePoint], base: Evaluation | None, steered: Evaluation, steered_name: str
) -> bytes:
    """Draw the score of the validations over environment steps, between those of base and steered policy, as PNG.

    Without play between validations it is drawn over gradient steps. `steered_name` says which checkpoint the steered
    policy is.
    """
    from matplotlib.figure import Figure  # draws without a display, and takes seconds to import
    from matplotlib.ticker import PercentFormatter, StrMethodFormatter

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    unit, steps = _progress(curve)
    axes = figure.add_subplot(xlabel=f"{unit} in training", ylabel=_score_name(steered))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(alpha=0.3)
    axes.plot(steps, [point.evaluation.score for point in curve], marker="o", label=_validation_name(curve))
    if steered.successes is not None:
        intervals = [summary(point.evaluation)["ci95"] for point in curve]
        lows, highs = [low for low, _ in intervals], [high for _, high in intervals]
        axes.fill_between(steps, lows, highs, alpha=0.2, label="95% interval of a validation")
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if base is not None:
        axes.axhline(base.score, color="0.35", linestyle="--", label=f"base policy, test worlds: {score_text(base)}")
    label = textwrap.fill(f"steered policy ({steered_name}), test worlds: {score_text(steered)}", _LEGEND)
    axes.axhline(steered.score, color="tab:green", linestyle="-.", label=label)
    axes.set_xlim(left=0)
    figure.legend(loc="outside lower center", fontsize="small", frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


def _progress(curve: Sequence[CurvePoint]) -> tuple[str, list[int]]:
    """Return the unit in which training progressed from one validation to the next, and its number at each."""
    env_steps = [point.env_steps for point in curve]
    if len(env_steps) > 1 and len(set(env_steps)) == 1:
        return "gradient steps", [point.gradient_steps for point in curve]
    return "environment steps", env_steps


def _validation_name(curve: Sequence[CurvePoint]) -> str:
    worlds = f" ({len(curve[0].evaluation.seeds)} worlds)" if curve else ""
    return f"validation{worlds}"


def score_text(evaluation: Evaluation, decimals: int = 1) -> str:
    """The score as a number: percent, or a return."""
    return fixed(evaluation.score, 1) if evaluation.successes is None else f"{evaluation.score:.{decimals}%}"


def _score_name(evaluation: Evaluation) -> str:
    return "mean return" if evaluation.successes is None else "success rate"
