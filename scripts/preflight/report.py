"""What a preflight leaves for people to look at: a table, a picture and the content of `preflight.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from scripts.preflight.measure import BASE, STILL, Outcomes, Preflight
from scripts.preflight.verdict import Verdict, p_value

POWERS = (1, 2, 4, 8, 16, 32, 64)


def table(found: Preflight) -> Table:
    """One row per noise: success, 95 % interval, the difference to the base policy, and pass@k."""
    powers = _powers(found.outcomes[found.actor])[1:]
    heads = ("noise", "success", "95 % interval", "to base", "p", "episodes", *(f"pass@{k}" for k in powers))
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in heads:
        shown.add_column(head, no_wrap=head in ("noise", "95 % interval"))
    base = found.outcomes[BASE]
    for name, outcomes in found.outcomes.items():
        interval = "{:.0%} … {:.0%}".format(*outcomes.interval)
        against = (
            ("-", "-") if name == BASE else (f"{outcomes.rate - base.rate:+.0%}", f"{p_value(outcomes, base):.2g}")
        )
        passed = (f"{outcomes.pass_at(k):.0%}" if k <= outcomes.draws else "-" for k in powers)
        row = (name, f"{outcomes.rate:.0%}", interval, *against, str(outcomes.successes.size), *passed)
        shown.add_row(*row, style="bold" if name == found.actor else None)
    return shown


def movement_lines(found: Preflight) -> tuple[str, str]:
    """How far chunks move with the actor's noise, per action dimension: in action units, and against the worlds."""
    noise = " ".join(f"{value:.3g}" for value in found.movement.over_noise)
    relative = " ".join(f"{value:.2g}" for value in found.movement.relative)
    return (
        f"noise moves the chunks, per action dimension, by a standard deviation of {noise}",
        f"relative to the standard deviation between worlds:                       {relative}",
    )


def content(found: Preflight, verdict: Verdict) -> dict[str, Any]:
    """What was measured and judged, as JSON; `solved_draws` holds one count per world."""
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
        "actor_row": found.actor,
        "first_seed": found.first_seed,
        "worlds": len(found.outcomes[BASE].successes),
        "outcomes": rows,
        "chunk_std": {name: list(values) for name, values in movement.items()},
    }


def draw(path: Path, found: Preflight, verdict: Verdict) -> None:
    """pass@k of the actor's noise with its interval, between the base policy and w = 0."""
    import textwrap

    from matplotlib.figure import Figure  # draws without a display, and takes seconds to import

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
    figure.savefig(path, dpi=120)


def _powers(outcomes: Outcomes) -> Sequence[int]:
    """1, 2, 4 … up to the number of draws, which is always the last."""
    return [k for k in POWERS if k < outcomes.draws] + [outcomes.draws]
