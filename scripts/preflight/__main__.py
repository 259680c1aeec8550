"""Measures the frozen policy under each noise before training: success, the best of several draws, and a verdict.

    python -m scripts.preflight                                   # the bundled policy on simple_pick
    python -m scripts.preflight task=simple_pick noise=repeat     # any keys of train.py

Plays the validation worlds (validation_episodes=, validation_seed=), so that nothing is chosen on test worlds. Writes
preflight.json and preflight.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts._options import Parser, ending_in_a_sentence, finite, out_folder, whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, judge, print and write."""
    options = _options(arguments)
    from dsrl.run.saved.eval_failure import noting_failure_in

    out = options.out or Path("outputs") / f"{datetime.now():%Y-%m-%d/%H-%M-%S}-preflight"
    with ending_in_a_sentence(ImportError), noting_failure_in(out, "preflight_failure.txt"):
        _preflight(options, out)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.preflight", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="keys of train.py, such as policy.path=my/policy")
    parser.add_argument("--draws", type=whole(1, 1000), default=8,
                        help="draws per world of the noise that training would use (default 8)")  # fmt: skip
    parser.add_argument("--other-draws", type=whole(1, 1000), default=2,
                        help="draws per world of every other noise (default 2)")  # fmt: skip
    parser.add_argument("--success-return", type=finite, metavar="R",
                        help="smallest return that counts as success, for tasks that define none "
                        "(default: returns are compared)")  # fmt: skip
    parser.add_argument("--out", type=out_folder,
                        help="folder for the files (default outputs/<date>/<time>-preflight)")  # fmt: skip
    return parser.parse_intermixed_args(arguments)


def _preflight(options: argparse.Namespace, out: Path) -> None:
    from dsrl.evaluation.outcomes import Outcomes
    from dsrl.run.components.final_evaluation import build_simulation
    from dsrl.run.components.parts import executed_slots
    from dsrl.run.terminal.errors import UserError
    from scripts._complete_folder import make_folder
    from scripts.preflight.measure import measure, noises
    from scripts.preflight.verdict import judge

    screen = _screen()
    parts = _parts(options.overrides, screen)
    settings = parts.settings
    if options.success_return is not None and parts.env.has_success:
        raise UserError("--success-return is for tasks that define no success, and this one does; leave it out")
    make_folder(out, out, exist_ok=True)  # before all that takes minutes
    build_simulation(parts, screen)
    screen.phase(f"frozen policy on {settings.validation_episodes} worlds from seed {settings.validation_seed} …")

    def on_row(name: str, outcomes: Outcomes) -> None:
        score = outcomes.score
        shown = f"success {score:.1%}" if outcomes.is_success else f"mean return {outcomes.text(score)}"
        screen.phase(f"{name}: {shown} in {outcomes.scores.size} episodes")

    executed = executed_slots(parts.policy, parts.env.horizon)
    found = measure(
        parts.env,
        noises(parts.noise, parts.policy.noise_shape, parts.env.horizon, executed.start),
        worlds=settings.validation_episodes,
        first_seed=settings.validation_seed,
        draws=options.draws,
        other_draws=options.other_draws,
        on_row=on_row,
        threshold=options.success_return,
    )
    if not parts.env.has_success:
        above = f"a return of {found.threshold:.6g} or more counts as one" if found.threshold is not None else None
        screen.phase(f"this task defines no success: {above or 'returns are compared'}")
    _report(found, judge(found), parts, options, out, screen)


def _screen() -> Any:
    """Return the console of train.py, 80 columns wide off a terminal."""
    from rich.console import Console

    from dsrl.run.terminal.console import Screen

    return Screen(Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 80))


def _parts(overrides: Sequence[str], screen: Any) -> Any:
    """Return the parts of train.py with these overrides, noise=auto chosen. Raises UserError for what cannot work."""
    from dsrl.run.terminal.errors import UserError
    from scripts._parts import composed

    cfg = composed(overrides)
    # these load torch, which a misspelled key need not wait for
    from dsrl.run.components.auto_noise import with_chosen_noise
    from dsrl.run.components.build import build
    from dsrl.run.terminal.signals import Signals

    parts = build(cfg, screen.phase)
    if parts.policy_sha256() is None:
        raise UserError(
            "this policy has no weights, so that there is no base to steer; choose another policy, or add "
            "policy_sha256() to one of your own that has weights"
        )
    return with_chosen_noise(cfg, parts, [], screen, Signals())[1]


def _report(found: Any, verdict: Any, parts: Any, options: argparse.Namespace, out: Path, screen: Any) -> None:
    """Print the table and the verdict, and write the files."""
    from dsrl.run.saved import provenance
    from dsrl.run.saved.files import write_json
    from scripts.preflight import cost, report

    settings = parts.settings
    for table in (table for table in report.tables(found) if table.row_count):
        screen.console.print(table)
    for line in report.movement_lines(found):
        screen.console.print(line, markup=False)
    updates = round(settings.utd * max(0, settings.decisions - settings.warmup_decisions))
    seconds = cost.decoding_seconds(parts.env, settings.batch_size)
    screen.console.print(cost.cost_line(seconds, settings.batch_size, updates), markup=False)
    screen.console.print(f"\n{verdict.sentence}\n", style="bold", markup=False)
    report.plot(out / "preflight.png", found, verdict)
    provenanced = {
        "overrides": options.overrides,
        "decoding_seconds": {str(settings.batch_size): seconds},
        "settings": asdict(settings),
        "policy_sha256": parts.policy_sha256(),
        "packages": provenance.package_versions(),
        "environment": provenance.environment(),
    }
    write_json(out / "preflight.json", {**report.content(found, verdict), **provenanced})
    screen.console.print(f"written to {out / 'preflight.json'} and {out / 'preflight.png'}", markup=False)


if __name__ == "__main__":
    main()
