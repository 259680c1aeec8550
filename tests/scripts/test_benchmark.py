"""The benchmark's ratios are those of its turns, and its learners are measured at equal sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from toys.tiny_pi import SIDE, small_sizes

from scripts.benchmark import learners, pi0
from scripts.benchmark.__main__ import TABLES, main
from scripts.benchmark.paired import Timed, in_turns, table


def test_ratios_are_taken_turn_by_turn() -> None:
    timed = Timed({"ours": [1.0, 4.0, 2.0], "peer": [2.0, 8.0, 6.0]})
    assert timed.ratio("peer", "ours") == "2.00 × (2.00 … 3.00)"
    assert timed.median("ours") == 2.0


def test_calls_take_turns_after_one_that_does_not_count() -> None:
    called: list[str] = []
    times = iter([0.0, 1.0, 1.0, 4.0, 4.0, 6.0, 6.0, 12.0])
    timed = in_turns({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2, lambda: next(times))
    assert called == ["a", "b"] * 3
    assert timed.seconds == {"a": [1.0, 2.0], "b": [3.0, 6.0]}


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_learners_are_compared_in_one_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"BATCH": 8, "WIDTH": 16, "ROWS": 32}.items():
        monkeypatch.setattr(learners, name, value)
    learners.report_learners(features=5, dim=2, turns=2, device="cpu")
    printed = capsys.readouterr().out
    assert "one SAC update: batch 8, 2 x 16 units, 2 critics, 5 features, 2 noise numbers" in printed
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows[2:6]] == [
        "dsrl", "dsrl, default losses", "tianshou SAC", "matrix products alone",
    ]  # fmt: skip
    assert rows[2][3].strip() == "1.00 × (1.00 … 1.00)"


def test_default_losses_are_those_of_the_configuration() -> None:
    with initialize_config_module("conf", version_base=None):
        sac = compose("train", ["sac=dsrl_sac"]).sac
    assert {name: sac[name] for name in learners.DEFAULTS} == learners.DEFAULTS


def test_tables_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "polcy"])
    assert capsys.readouterr().err.startswith(f"error: --only 'polcy' is unknown; choose one of '{TABLES[0]}'")


def test_a_pi0_is_compared_with_lerobots_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"chunk_size": 4, "n_action_steps": 4, "tokenizer_max_length": 8, "num_inference_steps": 2}
    with small_sizes():
        checkpoint = pi0.write_checkpoint(tmp_path, side=SIDE, device="cpu", dtype="float32", **sizes)
        pi0.report_pi0(checkpoint, "cpu", turns=2, worlds=(1, 3))
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| π0")]
    assert [row[2].strip() for row in rows] == ["1", "3"]
    assert all(float(row[7]) < 1e-5 for row in rows)


def test_a_pi0_on_the_cpu_is_refused_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "pi0"])
    assert "--only pi0 takes a GPU" in capsys.readouterr().err
