"""A task whose seeds do not repeat its worlds: base and steered policy are not paired, in a run and by eval.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from toys.guess import Restless
from toys.requests import newest_evaluation, request_of
from toys.runs import run, short_parts

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.noise_choice import choose_noise
from dsrl.evaluation.noise_sources import Act
from dsrl.noise.full import FullNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.run.evaluate import evaluate_run
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen

APART = "seeds do not repeat the worlds of this task: base and steered played different ones; if both were equally good"


def test_a_run_pairs_no_different_worlds_and_announces_the_base_policy_of_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for earlier in (False, True):
        run(tmp_path, short_parts("dsrl_sac", Restless))
        said = capsys.readouterr().out
        assert "seeds do not repeat the worlds of this task: policies are compared in different ones" in said
        assert APART in said
        assert ("the base policy was played earlier, in worlds that seeds do not repeat: " in said) == earlier
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert (summary["paired"], summary["unpaired"]["test"]) == (None, "Fisher's exact test")
    parts, folder = short_parts("dsrl_sac", Restless), RunFolder(tmp_path)
    parts.task.max_steps = 2  # so that an untrained actor fails somewhere
    evaluate_run(parts, folder, request_of(tmp_path, base=True), parts.algorithm.state_dict(), Screen())
    written, said = newest_evaluation(tmp_path), capsys.readouterr().out
    assert (written["paired"], written["unpaired"]["test"]) == (None, "Fisher's exact test")
    assert written["failures"]
    assert APART in said
    assert not re.search("McNemar|failed worlds|video_seeds", said)


@pytest.mark.parametrize("repeated", [True, False])
def test_the_best_of_two_worlds_is_no_headroom_of_a_noise(repeated: bool) -> None:
    """Success is a fair coin, whatever the noise: of worlds that seeds repeat, the coin would be the noise's own."""
    drawn = np.random.default_rng(1)

    def play(act: Act) -> Evaluation:
        successes = tuple((drawn.random(400) < 0.5).tolist())
        starts = tuple(range(1, 401)) if repeated else tuple(drawn.random(400).tolist())
        return Evaluation(tuple(range(400)), successes, (0.0,) * 400, (1,) * 400, (), starts)

    candidates = {"repeat": RepeatNoise((2, 1), 1.5, None), "full": FullNoise((2, 1), 1.5, None)}
    choice = choose_noise(candidates, (2, 1), play, draws=2, largest_loss=0.2)
    best = choice.content()["measured"]["repeat"]["best_of_2"]
    if repeated:
        assert (choice.name, best) == ("repeat", pytest.approx(0.75, abs=0.05))
        return
    assert (choice.name, best) == ("full", None)
    assert "no smaller noise has head-room by its mean (seeds do not repeat the worlds, " in choice.sentence
