"""Shows a preflight: tables for the terminal, a plot, and the content of `preflight.json`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from dsrl.evaluation.outcomes import Outcomes, p_value, shown_return
from dsrl.run.saved.files import atomic_write
from scripts.preflight.measure import BASE, STILL, Preflight
from scripts.preflight.verdict import Verdict

POWERS = (1, 2, 4, 8, 16, 32, 64)


def tables(found: Preflight) -> tuple[Table, Table]:
    """Return a row per noise: numbers, score with 95 % interval, difference to the base policy; and the best of k."""
    powers = _powers(found.outcomes[found.actor])[1:]
    base = found.outcomes[BASE]
    measure, best_of = ("success", "pass@") if base.is_success else ("return", "best of ")
    score = _table("noise", "numbers", measure, "95 % interval", "- base", "p", "episodes")
    best = _table("noise", *(f"{best_of}{k}" for k in powers))
    for name, outcomes in found.outcomes.items():
        interval = "-" if outcomes.interval is None else " … ".join(map(outcomes.text, outcomes.interval))
        measured = outcomes.text(outcomes.score), interval
        to_base = _difference(outcomes, base), f"{p_value(outcomes, base):.2g}"
        against = ("-", "-") if name == BASE else to_base
        row = (name, _numbers(found, name), *measured, *against, str(outcomes.scores.size))
        style = "bold" if name == found.actor else None
        score.add_row(*row, style=style)
        if outcomes.draws > 1 and found.repeated:
            passed = (outcomes.text(outcomes.best_of(k)) if k <= outcomes.draws else "-" for k in powers)
            best.add_row(name, *passed, style=style)
    return score, best


def _difference(outcomes: Outcomes, base: Outcomes) -> str:
    difference = outcomes.score - base.score
    return f"{difference:+.0%}" if base.is_success else shown_return(difference, "+")


def _numbers(found: Preflight, name: str) -> str:
    """Return how many numbers the actor chooses in a row; none where the policy draws all."""
    if name == BASE:
        return "-"
    return "0" if name == STILL else str(found.dims[name.partition(" ±")[0]])


def _table(*heads: str) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in heads:
        shown.add_column(head, no_wrap=head in ("noise", "95 % interval"))
    return shown


def movement_lines(found: Preflight) -> tuple[str, str]:
    """Return lines with the deviation of chunks over noise, per action dimension: absolute, and relative to worlds."""
    noise = " ".join(f"{value:.3g}" for value in found.movement.over_noise)
    relative = " ".join(f"{value:.2g}" for value in found.movement.relative)
    return (
        f"standard deviation of chunks over noise, per action dimension: {noise}",
        f"divided by the standard deviation between worlds:              {relative}",
    )


def content(found: Preflight, verdict: Verdict) -> dict[str, Any]:
    """Return measurements and verdict as JSON; `solved_draws` has one count per world, null without success.

    `pass_at` and `mixed_worlds` are null where seeds do not repeat the worlds.
    """
    rows = {
        name: {
            "successes": int(outcomes.scores.sum()) if outcomes.is_success else None,
            "episodes": int(outcomes.scores.size),
            "success_rate": outcomes.score if outcomes.is_success else None,
            "mean_return": None if outcomes.is_success else outcomes.score,
            "ci95": outcomes.interval and list(outcomes.interval),
            "p_against_base": None if name == BASE else p_value(outcomes, found.outcomes[BASE]),
            "pass_at": {str(k): outcomes.best_of(k) for k in _powers(outcomes)} if found.repeated else None,
            "draws": outcomes.draws,
            "mixed_worlds": outcomes.mixed if found.repeated else None,
            "solved_draws": outcomes.scores.sum(1).tolist() if outcomes.is_success else None,
        }
        for name, outcomes in found.outcomes.items()
    }
    movement = {"over_noise": found.movement.over_noise, "between_worlds": found.movement.between_worlds}
    return {
        "verdict": {"rule": verdict.rule, "sentence": verdict.sentence},
        "success_return": found.threshold,
        "noise": found.noise,
        "magnitude": found.magnitude,
        "dims": dict(found.dims),
        "actor_row": found.actor,
        "first_seed": found.first_seed,
        "worlds": len(found.outcomes[BASE].scores),
        "outcomes": rows,
        "chunk_std": {name: list(values) for name, values in movement.items()},
    }


def plot(path: Path, found: Preflight, verdict: Verdict) -> None:
    """Draw the best of k draws of the actor's noise with its interval, with the base policy and w = 0 as lines."""
    import textwrap

    from matplotlib.figure import Figure  # needs no display, and takes seconds to import

    actor, base, still = (found.outcomes[name] for name in (found.actor, BASE, STILL))
    powers = range(1, actor.draws + 1)
    draws = "draws" if found.repeated else "draws, each in another world"
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    measure = "share of worlds solved" if base.is_success else "mean return"
    axes = figure.add_subplot(xlabel="draws of noise per world, k", ylabel=f"{measure} (95 % interval)")
    low, high = zip(*(actor.best_interval(k) or (actor.best_of(k),) * 2 for k in powers), strict=True)
    axes.fill_between(powers, low, high, alpha=0.2)
    axes.plot(powers, [actor.best_of(k) for k in powers], marker="o", label=f"best of k {draws}, {found.actor}")
    axes.axhline(base.score, color="grey", linestyle="--", label=f"base policy, one draw: {base.text(base.score)}")
    axes.axhline(still.score, color="tab:green", linestyle=":", label=f"w = 0: {still.text(still.score)}")
    if base.is_success:
        axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(_powers(actor))
    axes.set_title(textwrap.fill(verdict.sentence, 84), fontsize=9)
    axes.legend(loc="best", fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    atomic_write(path, content.getvalue())


def _powers(outcomes: Outcomes) -> Sequence[int]:
    """Return 1, 2, 4 … below the number of draws, then that number."""
    return [k for k in POWERS if k < outcomes.draws] + [outcomes.draws]
