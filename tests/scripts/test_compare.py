"""Comparing runs: grouping into methods, statistics checked by hand, and which runs count."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import trim_mean
from toys.commands import typed_into_a_closed_pipe
from toys.run_folders import write_run

from dsrl.run.saved.checkpoint_names import MANIFEST
from scripts.compare import __main__ as compare
from scripts.compare import plots, statistics, tables
from scripts.compare.methods import Comparison, group
from scripts.compare.runs import gather, read


def _compare(folder: Path) -> Comparison:
    return group(gather([str(folder)]))


def test_runs_that_differ_besides_the_seed_are_different_methods(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", seed=seed, options={"alpha": 0.1})
        write_run(tmp_path / f"b{seed}", seed=seed)
        write_run(tmp_path / f"c{seed}", seed=seed, sac="dsrl_na", options={"num_noises": 4})
    methods = {method.name: method for method in _compare(tmp_path).methods}
    assert methods.keys() == {"sac=dsrl_na", "sac=dsrl_sac sac.alpha=0.1", "sac=dsrl_sac sac.alpha=auto"}
    assert all(len(method.runs["simple_pick"]) == 2 for method in methods.values())


@pytest.mark.parametrize("key", ["keep_checkpoints", "plot", "confirm_episodes", "zero_noise", "learner_device"])
def test_runs_that_differ_in_what_changes_no_score_are_one_method(key: str, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", seed=seed, top={key: seed})
    (method,) = _compare(tmp_path).methods
    assert method.name == "sac=dsrl_sac"
    assert len(method.runs["simple_pick"]) == 2


def test_a_typed_method_is_one_word_with_the_keys_that_vary_within_it(tmp_path: Path) -> None:
    write_run(tmp_path / "0", method="na", sac="dsrl_na", options={"alpha": 0.1, "num_noises": 4})
    write_run(tmp_path / "1", method="best_of_n", sac="dsrl_na", options={"alpha": 0.1, "num_noises": 8})
    write_run(tmp_path / "2", method="best_of_n", sac="dsrl_na", options={"alpha": 0.2, "num_noises": 8})
    names = {method.name for method in _compare(tmp_path).methods}
    assert names == {"na", "best_of_n sac.alpha=0.1", "best_of_n sac.alpha=0.2"}


def test_validations_during_training_are_read_at_quarters_of_the_longest_run(tmp_path: Path) -> None:
    write_run(tmp_path / "0", seed=0, curve=[0.1, 0.3, 0.5, 0.7])
    write_run(tmp_path / "1", seed=1, curve=[0.3, 0.5])
    write_run(tmp_path / "2", sac="dsrl_na", curve=[])
    comparison = _compare(tmp_path)
    steps, time = (tables.learning(comparison, over) for over in ("env_steps", "wall_time_s"))
    assert steps is not None
    assert steps.head == ("method", "1,000 env steps", "2,000 env steps", "3,000 env steps", "4,000 env steps")
    assert set(steps.rows) == {
        ("sac=dsrl_sac", "20.0%", "40.0%", "50.0%", "60.0%"),  # the shorter run stays at its last validation
        ("sac=dsrl_na", "-", "-", "-", "-"),
    }
    assert time is not None
    assert time.head[1:] == ("1.0 min", "2.0 min", "3.0 min", "4.0 min")


def test_the_validation_at_a_mark_as_its_head_shows_it_counts(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", curve=[0.1, 0.3])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [json.dumps({**row, "env_steps": steps}) for row, steps in zip(rows, (400, 1598), strict=True)]
    (run / "metrics.jsonl").write_text("\n".join(lines))
    table = tables.learning(_compare(tmp_path), "env_steps")
    assert table is not None
    assert (table.head[1], table.rows[0][1]) == ("400 env steps", "10.0%")


def test_more_methods_than_colours_differ_by_their_lines_and_warnings_name_three(tmp_path: Path) -> None:
    for number in range(9):
        write_run(tmp_path / f"{number}", options={"alpha": f"a_long_word_{number}" * 4}, curve=[0.1, 0.5])
    comparison = _compare(tmp_path)
    figure = plots.plot_curves(comparison)
    assert figure is not None
    assert len({(line.get_color(), line.get_linestyle()) for line in figure.legends[0].get_lines()}) == 9
    warning = tables.warnings(comparison)[0]
    assert warning.endswith(" and 6 more are likely too narrow, or missing.")
    assert warning.count("a_long_word_") == 12


def test_only_the_best_of_many_methods_are_compared_with_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_COMPARED", 2)
    for index in range(3):
        write_run(tmp_path / str(index), options={"alpha": index}, success=0.2 * index)
    comparison = _compare(tmp_path)
    pairs = tables.improvements(comparison)
    assert pairs is not None
    assert [row[:2] for row in pairs.rows] == [("sac.alpha=2", "sac.alpha=1")]
    assert any("are of the 2 best of 3 methods; name fewer" in sentence for sentence in tables.warnings(comparison))


def test_the_times_of_short_runs_are_in_seconds(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", curve=[0.1])
    row = json.loads((run / "metrics.jsonl").read_text())
    for seconds, head in (
        (3.0, ("0.75 s", "1.5 s", "2.25 s", "3 s")),
        (60.0, ("15 s", "30 s", "45 s", "60 s")),
        (120.0, ("0.5 min", "1.0 min", "1.5 min", "2.0 min")),
    ):
        (run / "metrics.jsonl").write_text(json.dumps({**row, "wall_time_s": seconds}))
        table = tables.learning(_compare(tmp_path), "wall_time_s")
        assert table is not None
        assert table.head[1:] == head


def test_the_legend_has_the_methods_of_all_tasks(tmp_path: Path) -> None:
    for number, (task, sac) in enumerate((("pick_place", "dsrl_sac"), ("simple_pick", "dsrl_na"))):
        write_run(tmp_path / f"{number}", task=task, sac=sac, curve=[0.1, 0.5])
    write_run(tmp_path / "2", task="simple_pick", curve=[])
    figure = plots.plot_curves(_compare(tmp_path))
    assert figure is not None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sac=dsrl_na", "sac=dsrl_sac"]
    assert len({line.get_color() for line in legend.get_lines()}) == 2


def test_runs_of_two_tasks_are_strata_of_one_method(tmp_path: Path) -> None:
    for seed in (0, 1):
        for task in ("simple_pick", "pick_place"):
            write_run(tmp_path / f"{task}{seed}", task=task, seed=seed)
    comparison = _compare(tmp_path)
    assert [method.name for method in comparison.methods] == ["sac=dsrl_sac"]
    assert comparison.tasks == ("pick_place", "simple_pick")


def test_failed_unfinished_superseded_and_damaged_runs_are_named_and_not_counted(tmp_path: Path) -> None:
    write_run(tmp_path / "0", seed=0, success=0.9)
    failed = write_run(tmp_path / "1", seed=1, finished=False)
    (failed / "failure.txt").write_text("FloatingPointError: reward of world [3] is not finite\n\nTraceback …")
    write_run(tmp_path / "2", seed=2, finished=False, curve=[0.1, 0.2])
    old = write_run(tmp_path / "3", seed=0, success=0.1)
    os.utime(old / "summary.json", (1, 1))
    damaged = write_run(tmp_path / "10", seed=4)
    (damaged / "summary.json").write_text('{"steered":')
    comparison = _compare(tmp_path)
    states = {run.path.name: (run.state, run.reason) for run in comparison.runs}
    assert list(states) == ["0", "1", "2", "3", "10"]
    assert states["0"] == ("finished", "")
    assert states["1"] == ("failed", "FloatingPointError: reward of world [3] is not finite")
    assert states["2"] == ("unfinished", "200 decisions taken, last metrics 0 min ago")
    assert states["3"] == ("superseded", f"same method, task and seed as the later {tmp_path / '0'}")
    assert states["10"][0] == "damaged"
    assert "summary.json is damaged" in states["10"][1]
    assert comparison.methods[0].scores("success_rate") == {"simple_pick": [0.9]}
    missing = tables.missing(comparison.runs, comparison.names)
    assert missing is not None
    assert [row[0] for row in missing.rows] == [str(tmp_path / name) for name in ("1", "2", "3", "10")]


@pytest.mark.parametrize("replaced", [True, False])
def test_a_run_whose_continuation_was_stopped_is_unfinished(replaced: bool, tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", top={"decisions": 8000, "utd": 1, "plot": True, "video_episodes": 0})
    summary = json.loads((run / "summary.json").read_text())
    summary |= {"requested": {"decisions": 8000, "utd": 1.0, "plot": False, "video_episodes": 4}}
    (run / "summary.json").write_text(json.dumps(summary))
    assert read(run).state == "finished"
    if replaced:
        summary["checkpoint_sha256"] = {"weights.safetensors": "0"}
        (run / "checkpoints" / "best").mkdir(parents=True)
        (run / "checkpoints" / "best" / MANIFEST).write_text('{"files": {"weights.safetensors": "1"}}')
    else:
        summary["requested"]["decisions"] = 2000
    (run / "summary.json").write_text(json.dumps(summary))
    words = "summary.json is of an earlier best checkpoint" if replaced else "summary.json is of decisions=2000, a"
    assert read(run).state == "unfinished"
    assert words in read(run).reason


@pytest.mark.parametrize(("typed", "state"), [(64, "finished"), (50, "finished"), (20, "unfinished")])
def test_a_run_has_played_each_of_a_few_worlds_once(typed: int, state: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", top={"eval_episodes": typed})
    summary = json.loads((run / "summary.json").read_text())
    summary |= {"num_worlds": 50, "requested": {"eval_episodes": 50}}
    (run / "summary.json").write_text(json.dumps(summary))
    assert read(run).state == state


def test_a_job_that_failed_before_it_began_is_named_with_its_sentence(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "failure.txt").write_text("UserError: noise.rank=9 but the noise has 5 slots\n\nTraceback …")
    comparison = _compare(tmp_path)
    assert [run.state for run in comparison.runs] == ["finished", "failed"]
    assert tables.all_runs(comparison).rows[1][:5] == (str(tmp_path / "1"), "-", "-", "-", "failed")
    missing = tables.missing(comparison.runs, comparison.names)
    assert missing is not None
    assert [row[-1] for row in missing.rows] == ["UserError: noise.rank=9 but the noise has 5 slots"]


def test_the_half_written_last_line_of_a_killed_run_is_ignored(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", curve=[0.1, 0.2], finished=False)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"env_st')
    assert [point.success for point in read(run).curve] == [0.1, 0.2]
    assert read(run).state == "unfinished"


def test_runs_that_cannot_be_compared_end_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*nowhere matches no folder of a run"):
        compare.main([str(tmp_path / "nowhere")])
    write_run(tmp_path / "0", finished=False)
    with pytest.raises(SystemExit, match="none of 1 runs is finished"):
        compare.main([str(tmp_path)])
    write_run(tmp_path / "1", seed=1)
    write_run(tmp_path / "2", seed=2, success=None)
    with pytest.raises(SystemExit, match="has no success rate, unlike 1 of 2 finished runs; leave it out"):
        compare.main([str(tmp_path)])
    with pytest.raises(SystemExit, match="none of 1 finished runs has a success rate; type --measure mean_return"):
        compare.main([str(tmp_path / "2"), "--measure", "success_rate"])


def test_the_iqm_is_the_mean_of_the_middle_half() -> None:
    # eight runs of two tasks together: 0 and 1 and 40 and 70 are cut, (2 + 3 + 4 + 5) / 4 stays
    scores = {"pick": [0.0, 70.0, 2.0, 5.0], "place": [40.0, 1.0, 4.0, 3.0]}
    assert statistics.iqm(scores).value == statistics.middle(scores) == 3.5


def test_the_iqm_weighs_tasks_equally_for_any_number_of_seeds() -> None:
    # four runs: a quarter is cut of either end, of B's half at 0.25 and of A's half at 1
    assert statistics.middle({"A": [1.0, 1.0, 1.0], "B": [0.25]}) == pytest.approx(0.625)
    # eight runs: B's weigh 1/4 each, A's 1/12 each; 0.0 is cut, and 0.7, 0.8, 0.9 are; 0.4 and 0.1, 0.2, 0.3 stay
    scores = {"A": [0.1, 0.2, 0.3, 0.7, 0.8, 0.9], "B": [0.0, 0.4]}
    estimate = statistics.iqm(scores)
    assert estimate.value == pytest.approx((0.4 / 4 + (0.1 + 0.2 + 0.3) / 12) / (1 / 2))
    assert estimate.interval is not None
    assert estimate.interval[0] <= estimate.value <= estimate.interval[1]


@pytest.mark.parametrize("seeds", range(1, 9))
def test_weights_change_nothing_where_tasks_have_as_many_seeds(seeds: int) -> None:
    samples = [np.random.default_rng(task).random((5, seeds)) for task in range(3)]
    expected = trim_mean(np.concatenate(samples, axis=-1), 0.25, axis=-1)
    np.testing.assert_array_equal(statistics._trimmed_mean(*samples), expected)
    np.testing.assert_allclose(statistics._weighted_trimmed_mean(samples), expected, rtol=1e-12)


def test_validations_weigh_tasks_equally_for_any_number_of_seeds(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"{seed}", seed=seed, curve=[0.9])
    write_run(tmp_path / "b", task="pick_place", curve=[0.1])
    table = tables.learning(_compare(tmp_path), "env_steps")
    assert table is not None
    assert table.rows == (("sac=dsrl_sac", "-", "-", "-", "50.0%"),)


def test_returns_that_are_averaged_over_tasks_are_a_reason_to_doubt(tmp_path: Path) -> None:
    write_run(tmp_path / "0", success=None)
    write_run(tmp_path / "1", seed=1, success=None)
    sentence = "Returns of several tasks are averaged, whose units may differ; --by-task has a row for each."
    assert sentence not in tables.warnings(_compare(tmp_path))
    write_run(tmp_path / "2", task="hopper", success=None)
    assert sentence in tables.warnings(_compare(tmp_path))


def test_the_gain_is_that_of_the_runs_with_a_base(tmp_path: Path) -> None:
    write_run(tmp_path / "0", success=0.9, base=0.8)
    write_run(tmp_path / "1", task="pick_place", success=0.2, base=None)
    comparison = _compare(tmp_path)
    (row,) = tables.scores(comparison).rows
    assert (row[4], *row[6:]) == ("55.0%", "80.0%", "+10.0%")
    sentence = "Not every run has a base policy: base and gain of sac=dsrl_sac are of those that have one."
    assert sentence in tables.warnings(comparison)


def test_the_mean_weighs_tasks_equally_for_any_number_of_seeds() -> None:
    assert statistics.mean({"pick": [0.0, 0.2, 0.4, 0.6], "place": [0.8, 1.0]}).value == pytest.approx(0.6)


def test_the_bootstrap_never_mixes_tasks() -> None:
    scores = {"pick": [0.2, 0.2, 0.2], "place": [0.8, 0.8, 0.8]}  # mixed, resamples would spread from 0.2 to 0.8
    assert statistics.mean(scores).interval == pytest.approx((0.5, 0.5))


def test_the_bootstrap_interval_is_that_of_the_binomial_and_repeats() -> None:
    # resamples of (0, 0, 1, 1) have k / 4 with k ~ B(4, 1/2): P(k = 0) = 1/16 > 2.5 %, so the percentiles are 0 and 1
    estimate = statistics.mean({"pick": [0.0, 0.0, 1.0, 1.0]})
    assert (estimate.value, estimate.interval) == (0.5, (0.0, 1.0))
    # of nine zeros and a one, k ~ B(10, 1/10): P(k <= 3) = 0.9872 >= 97.5 % > P(k <= 2) = 0.9298
    rare = {"pick": [0.0] * 9 + [1.0]}
    assert statistics.mean(rare).interval == pytest.approx((0.0, 0.3))
    assert statistics.iqm({"pick": [0.1, 0.5, 0.9]}) == statistics.iqm({"pick": [0.1, 0.5, 0.9]})


def test_a_single_seed_has_no_interval() -> None:
    assert statistics.iqm({"pick": [0.7]}) == statistics.Estimate(0.7, None)
    found = statistics.improvement({"pick": [0.7]}, {"pick": [0.5]})
    assert found is not None
    assert (found.probability, found.interval) == (1.0, None)


def test_the_probability_of_improvement_counts_pairs_and_averages_tasks() -> None:
    ours, theirs = {"pick": [0.8, 0.9], "place": [0.1, 0.2]}, {"pick": [0.7, 0.8], "place": [0.3, 0.4], "push": [0.0]}
    # pick: 0.8 > 0.7, 0.8 = 0.8, 0.9 > both -> 3.5 of 4; place: 0 of 4
    found = statistics.improvement(ours, theirs)
    assert found is not None
    assert found.probability == pytest.approx((3.5 / 4 + 0) / 2)
    assert found.interval is not None
    assert found.interval[0] <= found.probability <= found.interval[1]
    assert statistics.improvement(ours, {"push": [0.0]}) is None


def test_the_p_value_is_that_of_all_orderings() -> None:
    found = statistics.improvement({"pick": [3.0, 4.0, 5.0]}, {"pick": [0.0, 1.0, 2.0]})
    assert found is not None
    assert found.p_value["pick"] == pytest.approx(2 / math.comb(6, 3))  # the two extreme ones of 20 orderings


@pytest.mark.parametrize(("ours", "theirs"), [([0.5], [0.5]), ([1.0, 1.0, 1.0], [1.0, 1.0])])
def test_equal_scores_show_no_difference_at_all(ours: list[float], theirs: list[float]) -> None:
    found = statistics.improvement({"pick": ours}, {"pick": theirs})
    assert found is not None
    assert (found.probability, found.p_value) == (0.5, {"pick": 1.0})


def test_curves_are_averaged_over_the_range_of_all_runs() -> None:
    xs, estimates = statistics.curve([[0, 10, 20], [5, 15]], [[0.0, 1.0, 0.0], [0.5, 0.9]])
    assert xs.tolist() == [5.0, 10.0, 15.0]
    # the first run passes 0.5, 1.0, 0.5 there; the second 0.5, 0.7, 0.9
    np.testing.assert_allclose([one.value for one in estimates], [0.5, 0.85, 0.7])


def test_the_command_writes_the_same_numbers_into_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, (good, bad) in enumerate([(0.8, 0.4), (0.9, 0.5), (1.0, 0.6), (0.9, 0.5)]):
        write_run(tmp_path / f"{2 * seed}", seed=seed, options={"alpha": 0.1}, success=good, curve=[0.5, good])
        write_run(tmp_path / f"{2 * seed + 1}", seed=seed, success=bad, curve=[0.5, bad], film=seed == 0)
    compare.main([str(tmp_path / "*")])
    assert "sac.alpha=0.1" in capsys.readouterr().out
    out = tmp_path / "compare"
    written = {table["title"]: table for table in json.loads((out / "comparison.json").read_text())["tables"]}
    # IQM of (0.8, 0.9, 0.9, 1.0) is 0.9; the base is 25 % everywhere, so that the mean gains 65 %
    best, second = written["Success of the steered policy"]["rows"]
    assert best[:3] == ["sac.alpha=0.1", "4", "90.0%"]
    assert best[4] == "90.0%"
    assert best[6:] == ["25.0%", "+65.0%"]
    assert second[:3] == ["sac.alpha=auto", "4", "50.0%"]
    (pair,) = written["Probability of improvement"]["rows"]
    # Mann-Whitney with ties at full separation: z = (16 - 8 - 0.5) / sqrt(16/12 (9 - (6 + 6) / 56)) = 2.1920
    assert pair == ["sac.alpha=0.1", "sac.alpha=auto", "1.00", "1.00 … 1.00", "0.0284"]
    assert "| sac.alpha=0.1 | 4 | 90.0% |" in (out / "comparison.md").read_text()
    assert (out / "comparison.png").stat().st_size > 10_000
    page = (out / "report.html").read_text()
    assert "data:video/mp4;base64," in page
    assert "<script" not in page


def test_a_comparison_is_written_though_nobody_reads_the_output(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    assert typed_into_a_closed_pipe("scripts.compare", str(tmp_path)) == (0, "")
    assert (tmp_path / "compare" / "report.html").is_file()
