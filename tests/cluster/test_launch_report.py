"""The report of a sweep: a table and a block for each failure, within 80 columns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from dsrl.run.terminal.installed import typed_option
from hydra_plugins.dsrl_launcher import _report as report
from hydra_plugins.dsrl_launcher._outcome import Outcome, Run
from hydra_plugins.dsrl_launcher._processes import Queue

SWEEP = Path("multirun/2026-01-31/12-00-00")


def _outcome(number: int, problem: str | None, *overrides: str, log: Path = Path("none.err")) -> Outcome:
    value = JobReturn(status=JobStatus.COMPLETED)
    value.return_value = 0.25 * number
    return Outcome(Run(number, overrides, SWEEP / str(number)), None if problem else value, problem, log)


def test_the_table_shows_in_which_overrides_the_jobs_differ() -> None:
    outcomes = [
        _outcome(1, None, "task=pendulum", "seed=0", "sac.alpha=0.1"),
        _outcome(2, "killed", "task=pendulum", "seed=1", "sac.alpha=0.1"),
    ]
    assert report.table(outcomes, SWEEP, 80).splitlines() == [
        "results in multirun/2026-01-31/12-00-00",
        "job  result  validation  folder  overrides",
        "1    done    0.25        1       seed=0",
        "2    FAILED  -           2       seed=1",
    ]


def test_the_values_of_a_trial_that_was_launched_alone_are_shown() -> None:
    typed = ["task=pendulum", "hparams=optuna", "sac.hidden=choice(64,128)"]
    hydra = OmegaConf.create({"overrides": {"task": typed}, "sweeper": {"params": {"sac.tau": "interval(0, 1)"}}})
    searched = report.searched_keys(hydra)
    assert searched == {"sac.tau", "sac.hidden"}
    outcome = _outcome(3, None, "sac.tau=0.00039148502119992464", "task=pendulum", "hparams=optuna", "sac.hidden=64")
    assert report.table([outcome], SWEEP, 80, searched).splitlines()[-1].endswith("  sac.tau=0.000391485 sac.hidden=64")


def test_the_last_table_of_a_search_has_all_trials_and_others_those_of_a_launch() -> None:
    first, second = _outcome(0, None), _outcome(1, None)
    assert report.due([first], [first], 2) == [first]
    assert report.due([second], [first, second], 2) == [first, second]
    assert report.due([second], [first, second], None) == [second]  # a grid in batches: its end is not known


def test_a_grid_has_no_ranges_in_files() -> None:
    hydra = OmegaConf.create({"overrides": {"task": ["seed=0,1", "utd=2"]}, "sweeper": {"params": None}})
    assert report.searched_keys(hydra) == {"seed"}


def test_a_table_with_many_long_overrides_fits_80_columns() -> None:
    words = [f"sac.option_{i}={'x' * 3 * i}" for i in range(12)] + ["policy.path=" + "/folder" * 20]
    text = report.table([_outcome(0, None, *words), _outcome(1, None)], SWEEP, 80)
    _, head, *rows = text.splitlines()
    assert max(map(len, rows)) <= 80
    column = head.index("overrides")
    assert "".join(row[column:] for row in rows).replace(" ", "") == "".join(words) + "-"


def test_a_failure_is_reported_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "1_0_log.err"
    log.write_text("".join(f"line {i}\n" for i in range(100)))
    block = report.failure_block(_outcome(1, "ValueError: no", "seed=0", "cluster.partition=gpu", log=log), 80)
    assert "── job 1 failed" in block
    for line in ("  ValueError: no", "  overrides   seed=0", f"  run folder  {SWEEP}/1", f"  log         {log}"):
        assert line in block.splitlines()
    assert block.splitlines()[-2] == "    line 99"
    assert "line 79" not in block
    assert "line 80" in block


@pytest.mark.parametrize(("noted", "shown"), [("UserError: no", False), ("ValueError: no", True)])
def test_a_refused_run_is_reported_by_its_sentence_without_a_traceback(noted: str, shown: bool, tmp_path: Path) -> None:
    log = tmp_path / "failure.txt"
    log.write_text(f"{noted}\n\nTraceback (most recent call last):\n  a line of code\n")
    block = report.failure_block(Outcome(Run(1, (), tmp_path), None, f"dsrl.run.terminal.errors.{noted}", log), 80)
    assert f"  log         {log}" in block.splitlines()
    assert ("a line of code" in block) == ("last lines of the log" in block) == shown


def test_a_failure_with_a_long_sentence_fits_80_columns() -> None:
    block = report.failure_block(_outcome(1, "a sentence " * 30, *(f"key{i}=value" for i in range(30))), 80)
    assert max(map(len, block.splitlines())) <= 80


def test_output_that_goes_to_a_file_is_80_columns_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code = "from hydra_plugins.dsrl_launcher import _report; _report.say('word ' * 50)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 70 < max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    "name", ["multirun/a", "a b", "it's", 'the "best"', "x,y", "k=v", "[1](2)", "back\\slash", "é"]
)
def test_a_suggested_sweep_folder_can_be_typed_as_it_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = typed_option("hydra.sweep.dir", Path(name))
    Queue().stop(report.whole(words), search=False)
    assert words in capsys.readouterr().out
    argument = subprocess.run(f"printf %s {words}", shell=True, capture_output=True, text=True, check=True).stdout
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert (override.key_or_group, override.value()) == ("hydra.sweep.dir", name)
    assert not override.is_sweep_override()


def test_a_path_with_spaces_is_not_broken_between_lines() -> None:
    path = "a folder with many words in its name"
    for words in range(20):
        assert path in report.wrapped(f"{'word ' * words} {report.whole(path)} is the folder", 80)
