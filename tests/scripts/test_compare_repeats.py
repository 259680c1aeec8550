"""Comparing runs of equal configs: which are samples of one method, which repeat another, and which go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toys.run_folders import write_run

from scripts.compare.methods import Comparison, group
from scripts.compare.runs import gather, read


def _compare(folder: Path) -> Comparison:
    return group(gather([str(folder)]))


@pytest.mark.parametrize("path", ["base", "base/${seed}"])
@pytest.mark.parametrize("key", ["policy_sha256", "policy_configuration_sha256", "offline_data_sha256"])
def test_runs_of_other_files_at_one_path_are_different_methods(key: str, path: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"path": path, "top": {"offline_data": path}}
    for number, (digest, seed) in enumerate((("a" * 64, 0), ("b" * 64, 0), ("b" * 64, 1))):
        write_run(tmp_path / f"{number}", seed=seed, added={"requested": {key: digest}}, **options)
    write_run(tmp_path / "3", task="hopper", added={"requested": {key: "c" * 64}}, **options)
    found = {method.name: len(method.runs.get("simple_pick", ())) for method in _compare(tmp_path).methods}
    one, other, plain = f"sac=dsrl_sac {key}={'a' * 12}", f"sac=dsrl_sac {key}={'b' * 12}", "sac=dsrl_sac"
    assert found == ({one: 1, other: 2, plain: 0} if path == "base" else {one: 1, other: 1, plain: 1})


def test_the_run_that_ended_last_counts_also_where_an_earlier_one_was_copied_since(tmp_path: Path) -> None:
    write_run(tmp_path / "0", success=0.9, added={"end_time_s": 9e9})
    write_run(tmp_path / "1", success=0.1, added={"end_time_s": 1e9})  # written after it, as a copy is
    write_run(tmp_path / "2", success=0.2)  # of an earlier version, which noted no time
    assert _compare(tmp_path).methods[0].scores("success_rate") == {"simple_pick": [0.9]}


@pytest.mark.parametrize(
    ("key", "before", "now", "stopped"),
    [
        ("best_of", None, 8, "best_of=null, a continuation with best_of=8"),
        ("offline_data", "data/a", "data/b", "offline_data=data/a, a continuation with offline_data=data/b"),
        ("stop_on_collapse", False, True, "stop_on_collapse=false, a continuation with stop_on_collapse=true"),
        ("offline_data", "data/a", "data/${task.name}", None),
        ("utd", 2.0, 2, None),
        ("plot", False, True, None),
        ("note", "written by", "another package", None),
    ],
)
def test_a_summary_of_other_values_of_any_type_is_that_of_an_unfinished_run(
    key: str, before: object, now: object, stopped: str | None, tmp_path: Path
) -> None:
    run = read(write_run(tmp_path / "0", top={key: now}, added={"requested": {key: before}}))
    reason = "" if stopped is None else f"summary.json is of {stopped} has not finished"
    assert (run.state, run.reason) == ("finished" if stopped is None else "unfinished", reason)
