"""Tables that fit 80 columns, sentences, and the picture of a learning curve."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table

from dsrl.evaluation import report
from dsrl.evaluation.digits import fixed, with_interval
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.summary import paired, summary


def _evaluation(successes: int | None, mean_return: float = 1.0, num: int = 400) -> Evaluation:
    known = None if successes is None else tuple(i < successes for i in range(num))
    sentences = tuple(f"put the {('green', 'red')[i % 2]} cube into the box" for i in range(num))
    return Evaluation(tuple(range(num)), known, (mean_return,) * num, (1000,) * num, sentences)


def _lines(table: Table) -> list[str]:
    """The table as a run prints it into a file."""
    lines = _printed(table, 80)
    assert max(map(len, lines)) <= 80
    return lines


def _printed(table: Table, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, soft_wrap=True, width=width).print(table)
    return file.getvalue().splitlines()


def test_the_summary_of_a_run_has_one_line_per_policy() -> None:
    rows = {"base": _evaluation(200), "base_actor_noise": _evaluation(10), "steered": _evaluation(400)}
    lines = [line.split() for line in _lines(report.summary_table(rows))]
    assert ["base", "50.0%", "45.1%–54.9%", "1.00", "1000.0", "400"] in lines
    assert ["base", "(actor's", "noise)", "2.5%", "1.4%–4.5%", "1.00", "1000.0", "400"] in lines
    assert ["steered", "100.0%", "99.0%–100.0%", "1.00", "1000.0", "400"] in lines


def test_a_task_without_success_has_its_mean_return_in_the_tables() -> None:
    base, steered = _evaluation(None, -1234.567), _evaluation(None, 12345.678)
    text = "\n".join(_lines(report.summary_table({"base_actor_noise": base, "steered": steered})))
    assert "-1234.57" in text
    assert "12345.68" in text
    assert "12345.68" in "\n".join(_lines(report.instruction_table(base, steered)))


def test_the_table_of_instructions_has_one_line_each_hardest_first() -> None:
    elsewhere = replace(_evaluation(0), instructions=("",) * 400)
    assert " - " in _lines(report.instruction_table(elsewhere, _evaluation(9)))[3]
    lines = _lines(report.instruction_table(_evaluation(0), _evaluation(399)))
    cubes = [line for line in lines if "cube" in line]
    assert [line.split()[2] for line in cubes] == ["red", "green"]
    assert "0.0%" in cubes[0]


def test_runs_are_named_relative_to_the_folder_of_all_of_them(tmp_path: Path) -> None:
    base, steered = _evaluation(200), _evaluation(400)
    folders = [tmp_path / "2026-01-31" / "12-00-00", tmp_path / "2026-01-31" / ("a_long_name_of_a_run_" * 3)]
    for folder in folders:
        folder.mkdir(parents=True)
        written = {"result": summary(steered), "base": summary(base), "paired": paired(base, steered)}
        (folder / "eval.json").write_text(json.dumps(written))
    table = report.runs_table(folders, folders)
    assert str(table.title) == f"runs in {tmp_path / '2026-01-31'}"
    folders[0] = Path(os.path.relpath(folders[0]))
    table = report.runs_table(folders, folders)
    assert str(table.title) == f"runs in {tmp_path / '2026-01-31'}"
    table.title = None
    lines = _lines(table)
    assert any(line.split()[:2] == ["12-00-00", "100.0%"] for line in lines)
    assert "".join(line.split()[0] for line in lines[-5:] if line.strip()).endswith("a_long_name_of_a_run_")
    written |= {"paired": None, "unpaired": {"test": "Fisher's exact test", "p_value": 0.0123}}
    (folders[0] / "eval.json").write_text(json.dumps(written))
    assert any("0.012 (unpaired)" in line for line in _printed(report.runs_table(folders, folders), 400))


@pytest.mark.parametrize("width", [1, 20, 40, 64, 80])
def test_nothing_of_a_table_is_lost_in_a_narrow_terminal(width: int) -> None:
    rows = {"base": _evaluation(None, -1234.567), "base_actor_noise": _evaluation(None, 1.0), "steered": _evaluation(3)}
    narrow = _printed(report.summary_table(rows), width)
    found = "".join("".join(narrow).split())
    for value in ("base(actor'snoise)", "steered", "-1234.57", "1000.0", "0.3%–2.2%", "400"):
        assert value in found
    assert max(map(len, narrow)) <= width


def test_a_narrow_terminal_has_a_line_for_each_entry_of_a_table() -> None:
    lines = _printed(report.summary_table({"base": _evaluation(200), "steered": _evaluation(400)}), 40)
    assert lines[1:7] == [
        "policy: base", "success: 50.0%", "95% interval: 45.1%–54.9%", "return: 1.00", "steps: 1000.0", "episodes: 400"
    ]  # fmt: skip
    assert lines[7:9] == ["", "policy: steered"]


def test_names_with_brackets_are_shown_to_the_letter(tmp_path: Path) -> None:
    (tmp_path / "[x]").mkdir()
    (tmp_path / "[x]" / "eval.json").write_text(
        json.dumps({"result": summary(_evaluation(3)), "base": None, "paired": None})
    )
    folders = [tmp_path / "[x]"]
    for width in (40, 400):
        assert any("[x]" in line for line in _printed(report.runs_table(folders, folders), width))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0.00"),
        (-1e-6, "-1e-06"),
        (0.0012345, "0.001234"),
        (0.01988, "0.0199"),
        (-0.1, "-0.100"),
        (-1234.567, "-1234.57"),
    ],
)
def test_tiny_returns_keep_their_digits(value: float, expected: str) -> None:
    assert expected in "".join(_lines(report.summary_table({"steered": _evaluation(None, value, num=1)})))
    assert report.shown(_evaluation(None, -1e-6, num=1)) == "mean return -1e-06"
    assert fixed(1e-6, 2, "+") == "+1e-06"


def test_returns_have_an_interval_and_a_paired_sentence() -> None:
    base = Evaluation((0, 1, 2), None, (0.0, 0.0, 0.0), (1,) * 3)
    steered = Evaluation((0, 1, 2), None, (1.0, 2.0, 3.0), (1,) * 3)
    assert "-0.5 … 4.5" in "".join(_lines(report.summary_table({"steered": steered})))
    assert "in the same 3 worlds the mean return changes by +2.00" in report.returns_sentence(base, steered)


@pytest.mark.parametrize(
    ("mean", "interval", "expected"),
    [
        (12002.58, (11996.1, 12009.0), ("12002.58", "11996 … 12009")),
        (3.7, (3.6, 15.0), ("3.70", "3 … 15")),  # as a bootstrap's may be: not the same on both sides
        (1000.06, (1000.0312, 1000.0889), ("1000.060", "1000.031 … 1000.089")),  # 0.058 wide
        (1000.004, (1000.0035, 1000.0045), ("1000.00400", "1000.00350 … 1000.00450")),
        (0.00116, (0.00104, 0.00128), ("0.00116", "0.00104 … 0.00128")),
        (-1e-6, (-2e-6, 0.0), ("-1e-06", "-2e-06 … 0")),
        (1e4, (1e4 - 1e-11, 1e4 + 1e-11), ("10000.00", "10000.00")),  # rounding errors of equal returns
        (0.0, (-3e38, 3e38), ("0.00", f"-{3e38:.0f} … {3e38:.0f}")),  # more digits than a Decimal has by default
        (2.5, None, ("2.50", "-")),
    ],
)
def test_an_interval_has_the_digits_that_its_width_needs(
    mean: float, interval: tuple[float, float] | None, expected: tuple[str, str]
) -> None:
    assert with_interval(mean, interval, 2) == expected


def test_the_paired_comparison_is_a_sentence() -> None:
    base, steered = _evaluation(5, num=10), _evaluation(9, num=10)
    pair = paired(base, steered)
    assert pair is not None
    assert report.paired_sentence(pair) == (
        "of the same 10 worlds, both policies solved 5, only the steered one 4, only the base 0, neither 1; if both "
        "were equally good, a difference this large would appear with probability 0.12 (exact McNemar test)"
    )


def test_a_base_policy_that_solves_nothing_is_warned_of() -> None:
    failed, solved, scored = _evaluation(0, num=8), _evaluation(1, num=8), _evaluation(None, num=8)
    assert str(report.no_success(failed, failed)).startswith(
        "the base policy solved none of 8 worlds: steering cannot help"
    )
    assert report.no_success(failed, solved) is None
    assert report.no_success(solved, failed) is None
    assert report.no_success(scored, scored) is None


def test_an_actors_noise_that_solves_nothing_is_warned_of_where_the_base_policy_solves_too_many_by_chance() -> None:
    failed = _evaluation(0, num=64)
    assert report.no_success(_evaluation(4, num=64), failed) is None
    assert str(report.no_success(_evaluation(5, num=64), failed)).startswith(
        "the base policy solved 5 of 64 worlds, and none under random noise that the actor can choose: raise "
        "noise.magnitude, "
    )


@pytest.mark.parametrize("successes", [300, None])
def test_the_learning_curve_is_drawn_with_and_without_success_and_base(successes: int | None) -> None:
    steered = _evaluation(successes)
    curve = [report.CurvePoint(1000 * i, 100 * i, steered) for i in range(3)]
    for base in (steered, None):
        with Image.open(io.BytesIO(report.learning_curve(curve, base, steered, "after 9 decisions"))) as picture:
            assert picture.size == (840, 540)


@pytest.mark.parametrize("name", ["after 0 decisions and 12000 gradient steps", f"the mean after {10**40} decisions"])
def test_the_learning_curve_without_play_is_drawn_over_gradient_steps_and_its_legend_is_whole(name: str) -> None:
    curve = [report.CurvePoint(0, 0, _evaluation(100 * i), 1000 * i) for i in range(3)]
    with Image.open(io.BytesIO(report.learning_curve(curve, _evaluation(100), _evaluation(300), name))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels[:, [0, -1]] == 255).all()  # nothing is cut at the edges
    drawn = (pixels == (31, 119, 180)).all(axis=-1)[:300].any(axis=0)  # the colour of the validations
    assert np.ptp(np.flatnonzero(drawn)) > 400
