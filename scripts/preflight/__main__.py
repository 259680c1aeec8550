"""Before training: what the policy does under each noise, what the best of several draws would give, and a verdict.

    python -m scripts.preflight                                   # the bundled policy on simple_pick
    python -m scripts.preflight task=simple_pick noise=repeat     # any keys of train.py

It plays the validation worlds (validation_episodes=, validation_seed=), so that nothing is chosen on test worlds.
Left behind: preflight.json and preflight.png.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported: spinning threads starve each other


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, judge, show and write; ends with one sentence where that cannot work."""
    options = _options(arguments)
    from hydra.errors import HydraException

    from dsrl.run.errors import UserError

    try:
        _preflight(options)
    except (UserError, HydraException) as error:
        raise SystemExit(f"error: {' '.join(str(error).split())}") from None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="keys of train.py, such as policy.path=my/policy")
    parser.add_argument("--draws", type=int, default=8, help="draws per world of noise as the actor gives it")
    parser.add_argument("--other-draws", type=int, default=2, help="draws per world of every other noise")
    parser.add_argument("--success-return", type=float, metavar="R", help="where the task knows no success, an episode "
                        "with a return of R or more counts as one; by itself the base policy's median")  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder for the files; by itself outputs/<date>/<time>-preflight")
    options = parser.parse_intermixed_args(arguments)
    if min(options.draws, options.other_draws) < 1:
        parser.error("--draws and --other-draws are numbers of at least 1")
    return options


def _preflight(options: argparse.Namespace) -> None:
    from rich.console import Console

    from dsrl.run import train as workflow
    from dsrl.run.console import Screen
    from dsrl.run.errors import UserError
    from scripts.preflight.measure import Outcomes, measure
    from scripts.preflight.verdict import judge

    wide = None if sys.stdout.isatty() else 120  # no table is folded in a file
    screen = Screen(Console(highlight=False, soft_wrap=True, width=wide))
    parts = _parts(options.overrides, screen)
    settings = parts.settings
    if options.success_return is not None and parts.env.has_success:
        raise UserError("--success-return is for tasks that know no success, and this one does; leave it out")
    workflow.build_simulation(parts, screen)
    screen.phase(f"frozen policy on {settings.validation_episodes} worlds from seed {settings.validation_seed} …")

    def on_row(name: str, outcomes: Outcomes) -> None:
        screen.phase(f"{name}: success {outcomes.rate:.1%} in {outcomes.successes.size} episodes")

    found = measure(
        parts.env,
        noises(parts.noise, parts.policy.noise_shape),
        worlds=settings.validation_episodes,
        first_seed=settings.validation_seed,
        draws=options.draws,
        other_draws=options.other_draws,
        on_row=on_row,
        threshold=options.success_return,
    )
    if found.threshold is not None:
        screen.phase(f"this task knows no success: a return of {found.threshold:.6g} or more counts as one")
    _leave(found, judge(found), parts, options, screen)


def _parts(overrides: Sequence[str], screen: Any) -> Any:
    """The parts of train.py with these overrides; UserError for what cannot work."""
    from dsrl.run.errors import UserError
    from dsrl.run.train import policy_sha256
    from scripts.parts import build_parts

    parts = build_parts(overrides, screen.phase)
    if policy_sha256(parts) is None:
        raise UserError("this policy has no weights, so that there is no base to steer; choose another policy")
    return parts


def noises(chosen: Any, noise_shape: tuple[int, int]) -> dict[str, Any]:
    """The parametrisations to compare: full and repeated, each the chosen one where it is of that kind, and it.

    The one that is not chosen gets the chosen one's magnitude, in all dimensions.
    """
    from dsrl.noise.full import FullNoise
    from dsrl.noise.repeat import RepeatNoise

    name = type(chosen).__module__.rpartition(".")[2]  # one word names the choice, its YAML and its module
    found = {
        "full": FullNoise(noise_shape, chosen.magnitude, None),
        "repeat": RepeatNoise(noise_shape, chosen.magnitude, None),
    }
    return {**found, name: chosen}


def _leave(found: Any, verdict: Any, parts: Any, options: argparse.Namespace, screen: Any) -> None:
    """Print the table and the verdict, and write the files."""
    from dsrl.evaluation.report import package_versions
    from dsrl.run import provenance
    from dsrl.run import train as workflow
    from dsrl.run.folder import write_json
    from scripts.preflight import report

    out = options.out or Path("outputs") / f"{datetime.now():%Y-%m-%d/%H-%M-%S}-preflight"
    out.mkdir(parents=True, exist_ok=True)
    screen.console.print(report.table(found))
    for line in report.movement_lines(found):
        screen.console.print(line)
    screen.console.print(f"\n[bold]{verdict.sentence}[/bold]\n")
    report.draw(out / "preflight.png", found, verdict)
    provenanced = {
        "overrides": options.overrides,
        "settings": asdict(parts.settings),
        "policy_sha256": workflow.policy_sha256(parts),
        "packages": package_versions(),
        "environment": provenance.environment(),
    }
    write_json(out / "preflight.json", {**report.content(found, verdict), **provenanced})
    screen.phase(f"written to {out / 'preflight.json'} and {out / 'preflight.png'}")


if __name__ == "__main__":
    main()
