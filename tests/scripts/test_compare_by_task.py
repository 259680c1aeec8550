"""The table of a suite: one row per task, in units of its own, with numbers that can be checked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys.run_folders import write_run

from scripts.compare import __main__ as compare
from scripts.compare import tables
from scripts.compare.by_task import by_task, results
from scripts.compare.methods import group, named
from scripts.compare.runs import gather


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    names, runs = named(gather([str(folder)]))
    table = by_task(results(runs, names))
    return {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}


def test_a_row_has_the_share_of_the_gap_and_the_worst_dip_over_all_seeds(tmp_path: Path) -> None:
    for seed, success, curve in ((0, 0.7, [0.5, 0.2, 0.8]), (1, 0.9, [0.3, 0.9])):
        write_run(tmp_path / str(seed), seed=seed, success=success, base=0.4, zero_noise=0.5, curve=curve)
    (row,) = _rows(tmp_path).values()
    assert row == {
        "task": "simple_pick",
        "runs": "2",
        "base": "40.0%",
        "w = 0": "50.0%",
        "steered": "80.0%",
        "95 % interval": "70.0% … 90.0%",
        "gap closed": "67%",  # 0.4 of 0.6
        "worst dip": "20.0%",  # from 0.4 to 0.2
        "confirmed": "2 of 2",
        "decisions": "2,000",
        "minutes": "8.0",
    }


def test_the_share_of_the_gap_is_that_of_the_runs_with_a_base(tmp_path: Path) -> None:
    write_run(tmp_path / "0", success=0.9, base=0.8)
    write_run(tmp_path / "1", seed=1, success=0.1, base=None)
    (row,) = _rows(tmp_path).values()
    assert (row["base"], row["steered"], row["gap closed"]) == ("80.0%", "50.0%", "50%")


def test_a_task_without_success_has_returns_and_no_gap(tmp_path: Path) -> None:
    write_run(tmp_path / "0", task="hopper", success=None, base=None)
    write_run(tmp_path / "1", task="simple_pick", base=1.0)
    rows = _rows(tmp_path)
    assert (rows["hopper"]["steered"], rows["hopper"]["gap closed"], rows["hopper"]["w = 0"]) == ("-100.0", "-", "-")
    assert (rows["simple_pick"]["steered"], rows["simple_pick"]["gap closed"]) == ("50.0%", "-")


def test_small_returns_keep_their_digits(tmp_path: Path) -> None:
    for seed, value in enumerate((0.00116, 0.00262)):
        run = write_run(tmp_path / str(seed), task="reach", seed=seed, success=None, base=None)
        summary = json.loads((run / "summary.json").read_text())
        summary["steered"]["mean_return"] = value
        (run / "summary.json").write_text(json.dumps(summary))
    (row,) = _rows(tmp_path).values()
    assert (row["steered"], row["95 % interval"]) == ("0.00189", "0.0011 … 0.0027")
    scores = tables.scores(group(gather([str(tmp_path)])))
    assert scores.rows[0][4:6] == ("0.00189", "0.0011 … 0.0027")


def test_the_suite_names_its_tasks_and_what_differs_between_them_is_no_method(tmp_path: Path) -> None:
    for noise in ("repeat", "full"):
        write_run(tmp_path / noise, suite=f"state_{noise}", noise=noise)
    assert _rows(tmp_path).keys() == {"state_repeat", "state_full"}
    write_run(tmp_path / "na", suite="state_full", noise="full", sac="dsrl_na")
    found = _rows(tmp_path).keys()
    assert {"state_full sac=dsrl_na", "state_full sac=dsrl_sac"} <= found
    assert len(found) == 3


def test_tasks_of_a_benchmark_are_told_apart_by_their_names_and_their_policies_are_no_method(tmp_path: Path) -> None:
    for name in ("hammer-v3", "soccer-v3"):
        write_run(tmp_path / name, task="metaworld", keys={"name": name}, path=f"data/metaworld/{name}/base")
    assert _rows(tmp_path).keys() == {"hammer-v3", "soccer-v3"}
    write_run(tmp_path / "goal", task="libero", keys={"suite": "libero_goal", "id": 0})
    write_run(tmp_path / "ten", task="libero", keys={"suite": "libero_10", "id": 0})
    assert _rows(tmp_path).keys() == {"hammer-v3", "soccer-v3", "libero_goal", "libero_10"}


def test_the_command_writes_the_table_and_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "0", task="hopper", success=None)
    write_run(tmp_path / "1", task="simple_pick")
    write_run(tmp_path / "2", task="pick_place", finished=False)
    compare.main(["--by-task", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "by_task.md" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "by_task.json").read_text())
    found, numbers = written["tables"], written["numbers"]
    assert [row[0] for row in found[0]["rows"]] == ["hopper", "simple_pick"]
    assert [(row["task"], row["steered"], row["gap_closed"]) for row in numbers] == [
        ("hopper", -100.0, None),
        ("simple_pick", 0.5, pytest.approx(1 / 3)),
    ]
    assert [row[2] for row in found[1]["rows"]] == ["pick_place"]
    assert "| simple_pick | 1 | 25.0% | - | 50.0% | - | 33% |" in (tmp_path / "out" / "by_task.md").read_text()


def test_printed_words_are_whole_even_where_the_table_needs_more_than_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, sac in enumerate(("dsrl_sac", "dsrl_na")):
        write_run(tmp_path / f"{number}", sac=sac, zero_noise=0.5, curve=[0.2])
    compare.main(["--by-task", str(tmp_path)])
    printed = capsys.readouterr().out
    words = ("interval", "confirmed", "decisions", "minutes", "w = 0", "simple_pick", "sac=dsrl_sac", "sac=dsrl_na")
    assert [word for word in words if word not in printed] == []
    assert max(map(len, printed.partition(str(tmp_path))[0].splitlines())) <= 100
