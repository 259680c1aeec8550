"""A task whose seeds do not repeat its worlds: base and steered policy are not paired, in a run and by eval.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from toys.guess import Restless
from toys.requests import newest_evaluation, request_of
from toys.runs import run, short_parts

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
