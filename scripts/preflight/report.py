"""Shows a preflight: tables for the terminal, a plot, and the content of `preflight.json`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from dsrl.evaluation.outcomes import Outcomes, p_value
from dsrl.run.files import atomic_write
from scripts.preflight.measure import BASE, STILL, Preflight
from scripts.preflight.verdict import Verdict

POWERS = (1, 2, 4, 8, 16, 32, 64)


def tables(found: Preflight) -> tuple[Table, Table]:
    """Return a row per noise: its numbers, success with 95 % interval, difference to the base policy; and pass@k."""
    powers = _powers(found.outcomes[found.actor])[1:]
    success = _table("noise", "numbers", "success", "95 % interval", "- base", "p", "episodes")
    best = _table("noise", *(f"pass@{k}" for k in powers))
    base = found.outcomes[BASE]
    for name, outcomes in found.outcomes.items():
        interval = "{:.0%} … {:.0%}".format(*outcomes.interval)
        to_base = f"{outcomes.rate - base.rate:+.0%}", f"{p_value(outcomes, base):.2g}"
        against = ("-", "-") if name == BASE else to_base
        row = (name, _numbers(found, name), f"{outcomes.rate:.0%}", interval, *against, str(outcomes.successes.size))
        style = "bold" if name == found.actor else None
        success.add_row(*row, style=style)
        if outcomes.draws > 1:
            passed = (f"{outcomes.pass_at(k):.0%}" if k <= outcomes.draws else "-" for k in powers)
            best.add_row(name, *passed, style=style)
    return success, best


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
    """Return measurements and verdict as JSON; `solved_draws` has one count per world."""
    rows = {
        name: {
            "successes": int(outcomes.successes.sum()),
            "episodes": int(outcomes.successes.size),
            "success_rate": outcomes.rate,
            "ci95": list(outcomes.interval),
            "p_against_base": None if name == BASE else p_value(outcomes, found.outcomes[BASE]),
            "pass_at": {str(k): outcomes.pass_at(k) for k in _powers(outcomes)},
            "draws": outcomes.draws,
            "mixed_worlds": outcomes.mixed,
            "solved_draws": outcomes.successes.sum(1).tolist(),
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
        "worlds": len(found.outcomes[BASE].successes),
        "outcomes": rows,
        "chunk_std": {name: list(values) for name, values in movement.items()},
    }


def plot(path: Path, found: Preflight, verdict: Verdict) -> None:
    """Draw pass@k of the actor's noise with its interval, with the base policy and w = 0 as lines."""
    import textwrap

    from matplotlib.figure import Figure  # needs no display, and takes seconds to import

    actor, base, still = (found.outcomes[name] for name in (found.actor, BASE, STILL))
    powers = range(1, actor.draws + 1)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="draws of noise per world, k", ylabel="share of worlds solved (95 % interval)")
    low, high = zip(*(actor.pass_interval(k) for k in powers), strict=True)
    axes.fill_between(powers, low, high, alpha=0.2)
    axes.plot(powers, [actor.pass_at(k) for k in powers], marker="o", label=f"best of k draws, {found.actor}")
    axes.axhline(base.rate, color="grey", linestyle="--", label=f"base policy, one draw: {base.rate:.0%}")
    axes.axhline(still.rate, color="tab:green", linestyle=":", label=f"w = 0: {still.rate:.0%}")
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
