"""Judges a preflight by rules that are applied in this order; the first that applies gives its sentence.

1. broken     the actor's noise (parametrised and clipped) succeeds less often than the base policy's own noise, by
              BROKEN or more, p < SIGNIFICANCE; the larger part of the loss is reported as the cause, with the smallest
              other noise that loses less than BROKEN
2. unsolved   no draw of any noise solved any world: no success to learn from
3. solved     the base policy succeeds in SOLVED of all episodes or more
4. unrepeated seeds do not repeat the worlds: draws that differ, and the best of them, measure the worlds as well
5. powerless  no world's outcome differs between draws of the actor's noise, w = 0 among them; where another noise
              changes outcomes, the one whose best draw is best is named
6. little     the best of all draws gains less than HEADROOM over the base policy
7. lift       otherwise: from the base policy's success towards that of the best of all draws

Where the task defines no success, returns are compared, BROKEN and HEADROOM are in their unit (`Outcomes.unit`), and
rules 2 and 3 do not apply: no return is known to be success.
Where w = 0 differs from the base policy, p < SIGNIFICANCE, the sentence ends with its success; where it is better, also
with the option that compares training with it.
The best of n draws is chosen in hindsight: it shows that noise which succeeds exists, not that an actor will find it.
It is no limit either: draws are random, and an actor chooses by state.
Tests are paired by world and two-sided: signs of the worlds' differences are flipped at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dsrl.evaluation.noise_choice import HEADROOM, SOLVED
from dsrl.evaluation.outcomes import Outcomes, p_value
from dsrl.evaluation.starts import NOT_REPEATED
from scripts.preflight.measure import BASE, STILL, Preflight, clipped_name

SIGNIFICANCE = 0.01
BROKEN = 0.10  # success, or units of returns
IMMOVABLE = 1e-3  # of the movement between worlds


@dataclass(frozen=True)
class Verdict:
    """The rule that applies, and its sentence."""

    rule: str
    sentence: str


def judge(found: Preflight) -> Verdict:
    """Return the verdict on a preflight."""
    base, actor = found.outcomes[BASE], found.outcomes[found.actor]
    best = max(actor.best_of(actor.draws), actor.score)
    before, after = base.text(base.score), base.text(best)
    if worse(actor, base):
        reached = f"; the best of {actor.draws} draws {_reaches(base)} {after}" if found.repeated else ""
        verdict = Verdict("broken", f"{_broken(found)}{reached}")
    elif base.is_success and not any(outcomes.scores.any() for outcomes in found.outcomes.values()):
        verdict = Verdict("unsolved", _unsolved(found))
    elif base.is_success and base.score >= SOLVED:
        verdict = Verdict("solved", f"the base policy already succeeds in {before}: steering has little to add")
    elif not found.repeated:
        verdict = Verdict("unrepeated", _unrepeated(found))
    elif not _changes(found, found.actor, STILL):
        verdict = Verdict("powerless", _powerless(found))
    elif best == base.score or best - base.score < HEADROOM * base.unit:
        verdict = Verdict("little", _little(found, best))
    else:
        measure = "" if base.is_success else "a mean return of "
        verdict = Verdict("lift", f"steering can lift this policy from {measure}{before} towards {after}")
    return replace(verdict, sentence=verdict.sentence + _aside(found))


def worse(outcomes: Outcomes, base: Outcomes) -> bool:
    """Return whether `outcomes` are below `base` on the same worlds by BROKEN or more, and significantly."""
    return base.score - outcomes.score >= BROKEN * base.unit and _differ(outcomes, base)


def _changes(found: Preflight, *rows: str) -> bool:
    """Return whether the outcome of any world differs between the draws of all these rows."""
    return Outcomes(np.hstack([found.outcomes[name].scores for name in rows])).mixed > 0


def _reaches(outcomes: Outcomes) -> str:
    return "solves" if outcomes.is_success else "returns"


def _differ(first: Outcomes, second: Outcomes) -> bool:
    return p_value(first, second) < SIGNIFICANCE


def _aside(found: Preflight) -> str:
    """Return the end of the sentence: the success of w = 0 where it differs from the base policy's, and its use."""
    still, base = found.outcomes[STILL], found.outcomes[BASE]
    if not _differ(still, base):
        return ""
    if still.score < base.score:
        return f"; w = 0 only gives {still.text(still.score)}"
    return f"; w = 0 alone gives {still.text(still.score)}, where an actor starts: compare with it by zero_noise=true"


def _broken(found: Preflight) -> str:
    """Return the sentence that names the cause of the loss, the parametrisation or the clipping, and a remedy."""
    base, actor = found.outcomes[BASE], found.outcomes[found.actor]
    unclipped = found.outcomes[found.noise]
    scores = f"({actor.text(actor.score)} against {base.text(base.score)})"
    if found.noise == BASE and found.restricted:  # its unclipped row is the base policy's
        return f"steering a part of the dimensions breaks this checkpoint {scores}: use noise.action_dims=null"
    if base.score - unclipped.score < unclipped.score - actor.score or found.noise == BASE:
        return f"clipping noise at ±{found.magnitude:g} breaks this checkpoint {scores}: raise noise.magnitude"
    kind = "repeated noise" if found.noise == "repeat" else _typed(found.noise)
    return f"{kind} breaks this checkpoint {scores}: use {_remedy(found)}"


def _remedy(found: Preflight) -> str:
    """Return, as it is typed, the smallest other noise that loses less than BROKEN; else full noise, less clipped."""
    all_dims, base = " noise.action_dims=null" if found.restricted else "", found.outcomes[BASE]
    for name in sorted(found.dims, key=found.dims.__getitem__):
        score = found.outcomes[clipped_name(name, found.magnitude)].score
        if name != found.noise and base.score - score < BROKEN * base.unit:
            return f"{_typed(name)}{all_dims} ({base.text(score)})"
    return f"noise={BASE}{all_dims} with a larger noise.magnitude"


def _typed(name: str) -> str:
    """Return the keys that choose the noise of a row."""
    kind, _, rank = name.partition(" ")
    return f"noise={kind} noise.rank={rank}" if rank else f"noise={kind}"


def _little(found: Preflight, best: float) -> str:
    larger = "" if found.noise == BASE else f", most of all by noise={BASE}"
    base, draws = found.outcomes[BASE], found.outcomes[found.actor].draws
    return (
        f"the best of {draws} draws {_reaches(base)} {base.text(best)} against {base.text(base.score)}: "
        f"random draws show little head-room; an actor, which chooses by state, may find more{larger}"
    )


def _unrepeated(found: Preflight) -> str:
    base, actor = found.outcomes[BASE], found.outcomes[found.actor]
    scores = f"{actor.text(actor.score)} with the actor's noise, {base.text(base.score)} without"
    return (
        f"{NOT_REPEATED}, so that the best of draws measures the worlds as well as the noise: head-room cannot be "
        f"measured by random draws ({scores})"
    )


def _unsolved(found: Preflight) -> str:
    worlds, draws = found.outcomes[found.actor].scores.shape
    return (
        f"no draw of noise solved any of {worlds} worlds ({draws} draws each): there is no success to learn from; "
        "take a better checkpoint, a denser reward or easier worlds"
    )


def _powerless(found: Preflight) -> str:
    actor = found.outcomes[found.actor]
    score = f"{actor.text(actor.score)} solved" if actor.is_success else f"mean return {actor.text(actor.score)}"
    outcome = f"changes the outcome of any world ({score} by all of {actor.draws} draws)"
    others = [name for name in found.outcomes if name != STILL and _changes(found, found.actor, name)]
    if others:
        return f"no draw of {_typed(found.noise)} {outcome}, but {_other(found, others)}"
    moved = max(found.movement.relative) >= IMMOVABLE
    why = "" if moved else ", nor the chunks (does the sampler use its noise?)"
    return f"no draw of noise {outcome}{why}: steering cannot help"


def _other(found: Preflight, rows: Sequence[str]) -> str:
    """Return the end of the sentence: the noise among `rows` whose best draw is best, those that are clipped first."""
    clipped = {clipped_name(name, found.magnitude): _typed(name) for name in found.dims}
    rows = [name for name in rows if name in clipped] or rows
    name = max(rows, key=lambda row: found.outcomes[row].best_of(found.outcomes[row].draws))
    outcomes = found.outcomes[name]
    best = f"the best of {outcomes.draws} {_reaches(outcomes)} {outcomes.text(outcomes.best_of(outcomes.draws))}"
    return f"those of {clipped.get(name, f'{_typed(name)} with a larger noise.magnitude')} do ({best}): use it"
