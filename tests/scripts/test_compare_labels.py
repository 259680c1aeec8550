"""Labels of methods and tasks: short to read, and never equal for different configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.run_folders import write_run

from scripts.compare import plots
from scripts.compare.labels import LONGEST, Word, labels, shortened
from scripts.compare.methods import group, named
from scripts.compare.runs import Run, gather

LONG = "/data/policies/checkpoints_of_the_second_week_of_november_2026_ur5/"
VALUES = [0.1, 0.01, "0.1", None, "null", f"{LONG}010000", f"{LONG}020000", "x" * 200 + "a", "x" * 200 + "b", "0.1 b=1"]
CONFIGS = st.dictionaries(st.sampled_from(["gamma", "policy.path", "sac.tau", "noise.rank"]), st.sampled_from(VALUES))
CHOICES = st.fixed_dictionaries(
    {"task": st.just("simple_pick"), "sac": st.sampled_from(["dsrl_sac", "dsrl_na"]), "policy": st.just("smolvla")},
    optional={"suite": st.just("simple_pick"), "method": st.sampled_from(["na", "sac"]), "noise": st.just("full")},
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four folders with a summary, whose age decides between repeated runs."""
    paths = [tmp_path_factory.mktemp("run") for _ in range(4)]
    for path in paths:
        (path / "summary.json").touch()
    return paths


@given(drawn=st.lists(st.tuples(CONFIGS, CHOICES), min_size=2, max_size=4))
def test_different_configurations_are_never_one_method_and_equal_ones_always_are(
    drawn: list[tuple[dict[str, Any], dict[str, str]]], folders: list[Path]
) -> None:
    runs = [
        Run(path, "finished", config={"decisions": 1, **config}, choices=choices)
        for path, (config, choices) in zip(folders, drawn, strict=False)
    ]
    names, _ = named(runs)
    for one in runs:
        for other in runs:
            assert (names[one.path] == names[other.path]) == (_method(one) == _method(other))


def _method(run: Run) -> Any:
    """Return all that a method is: the suite only chooses the task, which all of these runs share."""
    return run.config, {name: choice for name, choice in run.choices.items() if name != "suite"}


@given(st.lists(st.text(st.sampled_from("ab/ …(1)"), max_size=12), unique=True))
def test_short_texts_stay_as_different_as_they_were(texts: list[str]) -> None:
    short = shortened({text: text for text in texts}, 5)
    assert len(set(short.values())) == len(texts)
    assert all(len(label) <= len("…aaaaa… (12)") for label in short.values())


def test_two_checkpoints_of_one_long_path_are_two_methods_named_by_where_they_differ(tmp_path: Path) -> None:
    for name in ("010000", "020000"):
        write_run(tmp_path / name, path=f"{LONG}{name}/pretrained_model")
    comparison = group(gather([str(tmp_path)]))
    names = [method.name for method in comparison.methods]
    assert names == ["policy.path=…010000/pretrained_model", "policy.path=…020000/pretrained_model"]
    assert [run.state for run in comparison.runs] == ["finished", "finished"]


def test_values_behind_many_long_ones_still_tell_methods_apart() -> None:
    long = [Word(f"policy.option_{i}", repr(i), "x" * 100) for i in range(4)]
    found = labels([(*long, Word("sac.tau", text, text)) for text in ("0.1", "0.01")])
    assert [label.rpartition(" ")[2] for label in found.values()] == ["sac.tau=0.1", "sac.tau=0.01"]
    assert max(map(len, found.values())) <= LONGEST


def test_what_cannot_be_told_apart_by_its_text_is_numbered() -> None:
    assert shortened({"1": "1", 1: "1", "2": "2", "3": "1 (1)"}, 60) == {
        "1": "1 (2)",
        1: "1 (3)",
        "2": "2",
        "3": "1 (1)",
    }


def test_tasks_with_long_names_stay_different(tmp_path: Path) -> None:
    for end in "ab":
        write_run(tmp_path / end, task="gym", keys={"id": f"package_with_a_long_name:{'Group/' * 10}Push-{end}"})
    tasks = group(gather([str(tmp_path)])).tasks
    assert tasks == ("…Push-a", "…Push-b")


def test_numbers_that_a_search_drew_have_six_digits(tmp_path: Path) -> None:
    for number, tau in enumerate((0.029387955698211028, 0.0000749733579070277, 0.005)):
        write_run(tmp_path / f"{number}", options={"tau": tau}, seed=number)
    names = [method.name for method in group(gather([str(tmp_path)])).methods]
    assert names == ["sac.tau=0.005", "sac.tau=0.029388", "sac.tau=7.49734e-05"]


@pytest.mark.filterwarnings("error")
def test_the_longest_names_of_methods_and_tasks_are_whole_in_the_pictures(tmp_path: Path) -> None:
    for number in range(4):
        options = dict.fromkeys("abcdefgh", f"{number}W" * 40)
        write_run(tmp_path / f"{number}", options=options, task="W" * 60, curve=[0.1, 0.5])
    comparison = group(gather([str(tmp_path)]))
    assert max(len(method.name) for method in comparison.methods) >= LONGEST
    scores, curves = plots.plot_scores(comparison), plots.plot_curves(comparison)
    for figure in (scores, curves):
        assert figure is not None
        figure.draw_without_rendering()
        names = [text for legend in figure.legends for text in legend.get_texts()]
        names += [axes.title for axes in figure.axes] if names else figure.axes[0].get_yticklabels()
        boxes = [text.get_window_extent() for text in names]
        assert len(boxes) >= 4
        assert all(figure.bbox.contains(*end) for box in boxes for end in (box.min, box.max))
        assert not [one for one in boxes if one.count_overlaps(boxes) > 1]
    assert [text.get_text() for text in curves.legends[0].get_texts()] == [
        plots._wrapped(method.name, plots.NAME_WIDTH) for method in comparison.methods
    ]
