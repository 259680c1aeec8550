"""Run folders that are damaged or come from somebody else: left out and named, nothing executed, everything escaped."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sys
import tracemalloc
import warnings
from pathlib import Path

import pytest
import yaml
from toys.run_folders import write_run

from scripts.compare import __main__ as compare
from scripts.compare.methods import group
from scripts.compare.plots import plot_curves, plot_scores
from scripts.compare.runs import gather, read

BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
DEEP = "[" * 100_000
STEERED = '{"steered": {"success_rate": 0.5, "mean_return": 0.5}'

DAMAGE = [
    (".hydra/config.yaml", "task: [1, 2"),
    (".hydra/config.yaml", ""),
    (".hydra/config.yaml", "{}"),
    (".hydra/config.yaml", "- 1"),
    (".hydra/config.yaml", "just words"),
    (".hydra/config.yaml", "!!python/object/apply:os.system ['touch executed']"),
    (".hydra/config.yaml", "? [1, 2]\n: 3"),
    (".hydra/config.yaml", BOMB),
    (".hydra/config.yaml", DEEP),
    (".hydra/config.yaml", "a: 1\n" * 100_000),
    (".hydra/config.yaml", "seed: !!bool x"),
    (".hydra/config.yaml", 'seed: !!int ""'),
    (".hydra/config.yaml", "seed: !!timestamp x"),
    (".hydra/config.yaml", f"seed: {'1:' * 300}1.5"),
    (".hydra/config.yaml", f"seed: 0x{'f' * 5000}"),
    (".hydra/config.yaml", f"? 0x{'f' * 5000}\n: 1"),
    (".hydra/hydra.yaml", "hydra: ["),
    (".hydra/hydra.yaml", "hydra: 5"),
    (".hydra/hydra.yaml", "hydra: {runtime: [1]}"),
    (".hydra/hydra.yaml", "hydra: {runtime: {choices: words}}"),
    (".hydra/overrides.yaml", "a: b"),
    ("summary.json", '{"steered":'),
    ("summary.json", "[1]"),
    ("summary.json", "\x00\x01"),
    ("summary.json", DEEP),
    ("summary.json", "1" * 5000),
    ("summary.json", '{"steered": null}'),
    ("summary.json", '{"steered": {"success_rate": "high", "mean_return": 0.5}}'),
    ("summary.json", '{"steered": {"success_rate": NaN, "mean_return": 0.5}}'),
    ("summary.json", '{"steered": {"success_rate": 0.5}}'),
    ("summary.json", '{"steered": {"mean_return": 0.5}}'),
    ("summary.json", '{"steered": {"success_rate": 0.5, "mean_return": 1' + "0" * 400 + "}}"),
    ("summary.json", '{"steered": {"success_rate": 1.5, "mean_return": 0.5}}'),
    ("summary.json", STEERED + ', "base": {"success_rate": -0.1, "mean_return": 0.5}}'),
    ("summary.json", STEERED + ', "paired": {"p_value": 2.0}}'),
    ("summary.json", STEERED + ', "base": 3}'),
    ("summary.json", STEERED + ', "base": {"mean_return": 1.0, "success_rate": null}}'),
    ("summary.json", STEERED + ', "zero_noise": {"mean_return": 1.0}}'),
    ("summary.json", STEERED + ', "base": {"mean_return": Infinity}}'),
    ("summary.json", STEERED + ', "paired": {}}'),
    ("summary.json", STEERED + ', "unpaired": {}}'),
    ("summary.json", STEERED + ', "wall_time_s": 1.7e308}'),
    ("summary.json", STEERED + ', "packages": ' + "[" * 900 + "]" * 900 + "}"),
    ("summary.json", '{"steered": {"success_rate": 0.5, "mean_return": 1.7e308}}'),
    ("summary.json", '{"steered": {"success_rate": 0.5, "mean_return": 1' + "0" * 300 + "}}"),
    ("summary.json", '{"steered": {"mean_return": 0.5, "success_rate": 1' + "0" * 300 + "}}"),
    ("summary.json", STEERED + ', "wall_time_s": "long"}'),
    ("summary.json", STEERED + ', "end_time_s": "2026-01-31"}'),
    ("metrics.jsonl", "{\n{}\n"),
    ("metrics.jsonl", "[1]\n{}\n"),
    ("metrics.jsonl", '{"eval/mean_return": 1}\n'),
    ("metrics.jsonl", '{"eval/mean_return": NaN, "env_steps": 1}\n'),
    ("metrics.jsonl", '{"eval/mean_return": 1, "eval/success_rate": 1.1, "env_steps": 1}\n'),
    ("metrics.jsonl", '{"eval/mean_return": 1, "env_steps": 1.7e308}\n'),
    ("metrics.jsonl", '{"eval/mean_return": 1, "env_steps": 1, "wall_time_s": 1.7e308}\n'),
    ("metrics.jsonl", '{"eval/mean_return": 1, "env_steps": 1, "wall_time_s": "x"}\n'),
    ("metrics.jsonl", '{"eval/mean_return": 1, "env_steps": 1}\n' * 100_001),
    ("environment.json", "{"),
    ("environment.json", "5"),
]


@pytest.mark.parametrize(("name", "content"), DAMAGE, ids=[f"{name} {words[:24]!r}" for name, words in DAMAGE])
def test_a_run_with_a_damaged_file_is_left_out_and_named(name: str, content: str, tmp_path: Path) -> None:
    write_run(tmp_path / "0", options={"alpha": 0.1})
    write_run(tmp_path / "1", options={"alpha": 0.2})
    damaged = write_run(tmp_path / "2", seed=1, options={"alpha": 0.1})
    (damaged / name).write_text(content)
    runs = gather([str(tmp_path)])
    assert [run.state for run in runs] == ["finished", "finished", "damaged"]
    assert f"{damaged / name} is damaged" in runs[2].reason
    assert "\n" not in runs[2].reason
    comparison = group(runs)
    assert [method.name for method in comparison.methods] == ["sac.alpha=0.1", "sac.alpha=0.2"]
    assert all(len(method.runs["simple_pick"]) == 1 for method in comparison.methods)


def test_rows_that_the_report_does_not_use_take_no_memory(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", curve=[0.1, 0.2])
    with (run / "metrics.jsonl").open("a") as file:
        file.write("{}\n" * 100_000)
    tracemalloc.start()
    try:
        curve, peak = read(run).curve, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [point.success for point in curve] == [0.1, 0.2]
    assert peak < 2_000_000  # bytes


@pytest.mark.parametrize("name", [".hydra/config.yaml", "summary.json", "metrics.jsonl", "environment.json"])
def test_a_folder_in_the_place_of_a_file_is_damage(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "0")
    (run / name).unlink()
    (run / name).mkdir()
    assert read(run).state == "damaged"
    assert read(run).reason == f"{run / name} is a folder where a run has a file; remove it"


def test_markup_and_control_characters_reach_every_output_as_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "[/red]</svg><script>alert(1)</script>$\\frac{$\x1b[31m ![a](b) \\[c](d) __e__ f_g"
    write_run(tmp_path / "0", options={"alpha": evil})
    write_run(tmp_path / "1 [bold]<i>", options={"alpha": 0.1}, curve=[0.1, 0.2])
    failed = write_run(tmp_path / "2", seed=1, finished=False)
    (failed / "failure.txt").write_text(f"Error: {evil}\nmore")
    (failed / "environment.json").write_text(json.dumps({evil: evil}))
    compare.main([str(tmp_path), "--title", evil])
    printed, page = capsys.readouterr().out, (tmp_path / "compare" / "report.html").read_text()
    assert "\x1b" not in printed + page
    assert "[/red]" in printed
    text = (tmp_path / "compare" / "comparison.md").read_text()
    assert "<script" not in page + text
    assert r"!\[a\](b) \\\[c\](d) \_\_e\_\_ f_g" in text.partition("\n")[0]
    assert not re.search(r"(?<!\\)\[", text)
    assert "<i>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("</svg>") == 2


def test_the_caption_of_a_video_is_printable(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", film=True)
    (run / ".hydra" / "config.yaml").write_text('seed: "\\uD800\\e[31m\\u202E7"')
    compare.main([str(tmp_path)])
    page = (tmp_path / "compare" / "report.html").read_text()
    assert "seed [31m 7 · 0</figcaption>" in page
    assert all(line.isprintable() for line in page.split("\n"))


def test_a_video_that_is_a_link_is_not_embedded(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0")
    secret = tmp_path / "secret.txt"
    secret.write_text("private words")
    (run / "base_vs_steered.mp4").symlink_to(secret)
    assert read(run).video is None


@pytest.mark.parametrize("name", ["failure.txt", ".hydra/config.yaml", ".hydra", "summary.json", "metrics.jsonl"])
def test_what_a_link_out_of_a_run_leads_to_reaches_no_output(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "sweep" / "0")
    foreign = write_run(tmp_path / "sweep" / "1", finished=name != "failure.txt")
    (tmp_path / "secret").write_text("words: private")
    if name == ".hydra":
        (tmp_path / "mine").mkdir()
        (tmp_path / "secret").rename(tmp_path / "mine" / "config.yaml")
    if (foreign / name).exists():
        shutil.move(foreign / name, tmp_path / "kept")
    (foreign / name).symlink_to(tmp_path / ("mine" if name == ".hydra" else "secret"))
    compare.main([str(tmp_path / "sweep")])
    written = [path.read_text() for path in (tmp_path / "sweep" / "compare").iterdir() if path.suffix != ".png"]
    assert not any("private" in text for text in (capsys.readouterr().out, *written))
    assert read(foreign).reason == f"{foreign / name} is a link that leads out of the run's folder; remove it"


def test_a_link_that_a_glob_matches_is_named_and_not_read(tmp_path: Path) -> None:
    write_run(tmp_path / "sweep" / "0")
    (tmp_path / "sweep" / "1").symlink_to(write_run(tmp_path / "mine"))
    first, second = gather([f"{tmp_path}/sweep/*"])
    assert (first.state, second.state, second.config) == ("finished", "damaged", {})
    assert second.reason.startswith("it is a link that leads out of the typed folder; type its own path")
    assert [run.state for run in gather([f"{tmp_path}/sweep/1"])] == ["finished"]


@pytest.mark.parametrize("options", [[], ["--by-task"]], ids=["whole", "by task"])
def test_a_report_replaces_links_that_a_foreign_sweep_has_in_its_place(options: list[str], tmp_path: Path) -> None:
    write_run(tmp_path / "sweep" / "0", curve=[0.1, 0.2])
    mine = tmp_path / "mine"
    mine.write_text("mine")
    out = tmp_path / "sweep" / "compare"
    out.mkdir()
    names = ["report.html", "comparison.png", "comparison.md", "comparison.json", "by_task.md", "by_task.json"]
    for name in names:
        (out / name).symlink_to(mine)
    compare.main([str(tmp_path / "sweep"), *options])
    assert mine.read_text() == "mine"
    written = [name for name in names if not (out / name).is_symlink()]
    assert written == (names[4:] if options else names[:4])


def test_a_link_in_place_of_the_report_s_folder_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "sweep" / "0")
    (tmp_path / "mine").mkdir()
    (tmp_path / "sweep" / "compare").symlink_to(tmp_path / "mine")
    with pytest.raises(SystemExit, match="is a link that may lead elsewhere; remove it, or name a folder by --out"):
        compare.main([str(tmp_path / "sweep")])
    assert not list((tmp_path / "mine").iterdir())


class Canary:
    """Creates the file `executed` when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_comparing_unpickles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "0", curve=[0.1])
    for name in ("1_0_result.pkl", "model.pt", "replay.npy", "summary.pkl", ".hydra/config.pickle"):
        (run / name).write_bytes(pickle.dumps(Canary()))
    monkeypatch.chdir(tmp_path)
    used, watching = [], True

    def note(event: str, _: object) -> None:  # Python removes no such hook
        if watching and event == "pickle.find_class":
            used.append(event)

    sys.addaudithook(note)
    compare.main([str(tmp_path)])
    watching = False
    assert not used
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("success", [0.5, None])
def test_printed_lines_fit_80_columns(
    success: float | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        options = {"alpha": 0.1, "a_key_with_a_long_name": "a value of many letters"}
        write_run(tmp_path / f"long{seed}", seed=seed, options=options, success=success, curve=[0.1, 0.5])
        write_run(tmp_path / f"short{seed}", seed=seed, success=success, curve=[0.2])
    failed = write_run(tmp_path / "failed", seed=3, finished=False)
    (failed / "failure.txt").write_text("Error: " + "word " * 40)
    compare.main([str(tmp_path)])
    table = capsys.readouterr().out.partition("note: ")[0]
    assert max(map(len, table.splitlines())) <= 80


def test_a_config_with_interpolations_is_read_as_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0")
    (run / ".hydra" / "config.yaml").write_text(yaml.safe_dump({"seed": 0, "task": {"path": "${oc.env:HOME}"}}))
    assert read(run).config["task.path"] == "${oc.env:HOME}"


def test_long_names_leave_room_for_the_axes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, options={"alpha": name + "W" * 200}, curve=[0.1, 0.2])
    comparison = group(gather([str(tmp_path)]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of axes without any width
        for figure in (plot_scores(comparison), plot_curves(comparison)):
            assert figure is not None
            figure.draw_without_rendering()
