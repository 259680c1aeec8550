"""A person may reset a real robot's world: a run resets none that nothing plays then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys.guess import Guess
from toys.runs import run, short_parts

from dsrl.noise_action_env import FIRST_DRAWN_SEED
from dsrl.run.components.final_evaluation import build_simulation
from dsrl.run.terminal.console import Screen


def test_training_draws_no_worlds_after_its_last_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    reset = Guess.reset

    def noted(self: Guess, rows: Any, chosen: Any = None) -> None:
        seeds.extend(chosen)
        reset(self, rows, chosen)

    monkeypatch.setattr(Guess, "reset", noted)
    run(tmp_path, short_parts("dsrl_sac"))
    validated = [i for i, seed in enumerate(seeds) if 2000 <= seed < 2010]
    assert len(validated) > 10
    assert max(seeds[: validated[-1]]) >= FIRST_DRAWN_SEED
    assert max(seeds[validated[-1] :]) < FIRST_DRAWN_SEED


def test_a_simulation_that_was_built_is_not_reset_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guess, "reset", lambda *_: pytest.fail("reset"))
    assert build_simulation(replace(short_parts("dsrl_sac"), setup_seconds=2.0), Screen()) == 2.0
