"""Judges a preflight by rules that are applied in this order; the first that applies gives its sentence.

1. broken     the actor's noise (parametrised and clipped) succeeds less often than the base policy's own noise, by
              BROKEN or more, p < SIGNIFICANCE; the larger part of the loss is reported as the cause, with the smallest
              other noise that loses less than BROKEN
2. unsolved   no draw of any noise solved any world: no success to learn from
3. solved     the base policy succeeds in SOLVED of all episodes or more
4. powerless  no world's outcome differs between draws
5. little     the best of all draws gains less than HEADROOM over the base policy
6. lift       otherwise: from the base policy's success towards that of the best of all draws

Where w = 0 differs from the base policy, p < SIGNIFICANCE, the sentence ends with its success; where it is better, also
with the option that compares training with it.
The best of n draws is chosen in hindsight: it shows that noise which succeeds exists, not that an actor will find it.
It is no limit either: draws are random, and an actor chooses by state.
Tests are paired by world and two-sided: signs of the worlds' differences are flipped at random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dsrl.evaluation.noise_choice import HEADROOM, SOLVED
from dsrl.evaluation.outcomes import Outcomes, p_value
from scripts.preflight.measure import BASE, STILL, Preflight, clipped_name

SIGNIFICANCE = 0.01
BROKEN = 0.10  # success
IMMOVABLE = 1e-3  # of the movement between worlds


@dataclass(frozen=True)
class Verdict:
    """The rule that applies, and its sentence."""

    rule: str
    sentence: str


def judge(found: Preflight) -> Verdict:
    """Return the verdict on a preflight."""
    base, actor = found.outcomes[BASE], found.outcomes[found.actor]
    best = max(actor.pass_at(actor.draws), actor.rate)
    if worse(actor, base):
        verdict = Verdict("broken", f"{_broken(found)}; the best of {actor.draws} draws solves {best:.0%}")
    elif not any(outcomes.successes.any() for outcomes in found.outcomes.values()):
        verdict = Verdict("unsolved", _unsolved(found))
    elif base.rate >= SOLVED:
        verdict = Verdict("solved", f"the base policy already succeeds in {base.rate:.0%}: steering has little to add")
    elif actor.mixed == 0:
        verdict = Verdict("powerless", _powerless(found))
    elif best - base.rate < HEADROOM:
        verdict = Verdict("little", _little(found, best))
    else:
        verdict = Verdict("lift", f"steering can lift this policy from {base.rate:.0%} towards {best:.0%}")
    return replace(verdict, sentence=verdict.sentence + _aside(found))


def worse(outcomes: Outcomes, base: Outcomes) -> bool:
    """Return whether `outcomes` are below `base` on the same worlds by BROKEN or more, and significantly."""
    return bool(base.rate - outcomes.rate >= BROKEN) and _differ(outcomes, base)


def _differ(first: Outcomes, second: Outcomes) -> bool:
    return p_value(first, second) < SIGNIFICANCE


def _aside(found: Preflight) -> str:
    """Return the end of the sentence: the success of w = 0 where it differs from the base policy's, and its use."""
    still, base = found.outcomes[STILL], found.outcomes[BASE]
    if not _differ(still, base):
        return ""
    if still.rate < base.rate:
        return f"; w = 0 only gives {still.rate:.0%}"
    return f"; w = 0 alone gives {still.rate:.0%}, where an actor starts: compare with it by zero_noise=true"


def _broken(found: Preflight) -> str:
    """Return the sentence that names the cause of the loss, the parametrisation or the clipping, and a remedy."""
    base, actor = found.outcomes[BASE], found.outcomes[found.actor]
    unclipped = found.outcomes[found.noise]
    rates = f"({actor.rate:.0%} against {base.rate:.0%})"
    if found.noise == BASE and found.restricted:  # its unclipped row is the base policy's
        return f"steering a part of the dimensions breaks this checkpoint {rates}: use noise.action_dims=null"
    if base.rate - unclipped.rate < unclipped.rate - actor.rate or found.noise == BASE:
        return f"clipping noise at ±{found.magnitude:g} breaks this checkpoint {rates}: raise noise.magnitude"
    kind = "repeated noise" if found.noise == "repeat" else _typed(found.noise)
    return f"{kind} breaks this checkpoint {rates}: use {_remedy(found)}"


def _remedy(found: Preflight) -> str:
    """Return, as it is typed, the smallest other noise that loses less than BROKEN; else full noise, less clipped."""
    all_dims = " noise.action_dims=null" if found.restricted else ""
    for name in sorted(found.dims, key=found.dims.__getitem__):
        rate = found.outcomes[clipped_name(name, found.magnitude)].rate
        if name != found.noise and found.outcomes[BASE].rate - rate < BROKEN:
            return f"{_typed(name)}{all_dims} ({rate:.0%})"
    return f"noise={BASE}{all_dims} with a larger noise.magnitude"


def _typed(name: str) -> str:
    """Return the keys that choose the noise of a row."""
    kind, _, rank = name.partition(" ")
    return f"noise={kind} noise.rank={rank}" if rank else f"noise={kind}"


def _little(found: Preflight, best: float) -> str:
    larger = "" if found.noise == BASE else f", most of all by noise={BASE}"
    base, draws = found.outcomes[BASE], found.outcomes[found.actor].draws
    return (
        f"the best of {draws} draws solves {best:.0%} against {base.rate:.0%}: "
        f"random draws show little head-room; an actor, which chooses by state, may find more{larger}"
    )


def _unsolved(found: Preflight) -> str:
    worlds, draws = found.outcomes[found.actor].successes.shape
    return (
        f"no draw of noise solved any of {worlds} worlds ({draws} draws each): there is no success to learn from; "
        "take a better checkpoint, a denser reward or easier worlds"
    )


def _powerless(found: Preflight) -> str:
    actor = found.outcomes[found.actor]
    moved = max(found.movement.relative) >= IMMOVABLE
    why = "" if moved else ", nor the chunks (does the sampler use its noise?)"
    return (
        f"no draw of noise changes the outcome of any world ({actor.rate:.0%} solved by all of {actor.draws} draws)"
        f"{why}: steering cannot help"
    )
