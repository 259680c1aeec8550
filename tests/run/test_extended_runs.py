"""A run is extended by a larger budget; evaluations and checkpoints may change, the rest is one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys.requests import newest_evaluation
from toys.runs import Killed
from toys.typed import digests, type_eval, type_train

from dsrl.run.saved import provenance
from dsrl.run.saved.checkpoint import Checkpoints, read_manifest, write_checkpoint
from dsrl.run.saved.folder import RunFolder


def _summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


LARGER = ("decisions=160", "decisions=121", "decisions=160 eval_every=40 eval_episodes=7 checkpoint_minutes=0.001")


@pytest.mark.parametrize("typed", LARGER)
def test_a_finished_run_is_extended_in_its_folder(typed: str, run: Path) -> None:
    assert type_train(run, *typed.split()) is None
    assert _summary(run)["decisions"] == {"decisions=121": 122}.get(typed, 160)
    for checkpoint in ("best", "last"):
        RunFolder(run).load(checkpoint)
    assert type_eval(f"run={run}") is None
    assert newest_evaluation(run)["result"] == _summary(run)["steered"]


@pytest.mark.parametrize("replaced", [True, False])
def test_a_stopped_extension_leaves_the_run_finished_unless_it_has_replaced_the_best_weights(
    replaced: bool, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = _summary(run)
    (run / "summary.json").write_text(json.dumps({**summary, "returned": "base", "base": summary["steered"]}))
    RunFolder(run).save("best", RunFolder(run).load("last" if replaced else "best"))
    assert type_eval(f"run={run}", "checkpoint=returned") is None
    assert newest_evaluation(run)["request"]["checkpoint"] == ("best" if replaced else "none")
    assert ("the run counts as unfinished" in capsys.readouterr().out) == replaced
    assert type_train(run) is None
    shown = capsys.readouterr().out
    assert ("the run counts as unfinished" in shown, "finished before" in shown) == (replaced, not replaced)


@pytest.mark.parametrize("typed", LARGER)
def test_a_finished_run_is_extended_in_another_folder(typed: str, run: Path, tmp_path: Path) -> None:
    before = digests(run)
    assert type_train(tmp_path / "other", f"resume={run}", *typed.split()) is None
    assert _summary(tmp_path / "other")["decisions"] == {"decisions=121": 122}.get(typed, 160)
    assert digests(run) == before
    assert type_train(run, *typed.split()) is None
    assert _summary(tmp_path / "other")["steered"] == _summary(run)["steered"]


def test_a_finished_run_that_another_folder_goes_on_from_is_whole_there(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert type_train(other, f"resume={run}") is None  # no decision is left to take
    assert type_eval(f"run={other}", "checkpoint=last") is None
    assert type_train(other, "decisions=160") is None
    assert type_train(run, "decisions=160") is None
    assert _summary(other)["steered"] == _summary(run)["steered"]


def test_a_finished_run_is_not_started_over_where_its_checkpoints_are_gone(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    shutil.rmtree(run / "resume")
    before = digests(run)
    for typed in (("decisions=160",), ("decisions=160", f"resume={other}")):
        ending = str(type_train(run, *typed))
        assert "has a finished run, of other values, and no checkpoint to continue it from" in ending
        assert digests(run) == before
    assert type_train(run) is None  # the same values: finished before
    for damaged in ((run / "summary.json").read_text()[:99], "", "{}"):
        (run / "summary.json").write_text(damaged)
        sentence = f"error: {run / 'summary.json'} is damaged; restore it, or name another hydra.run.dir"
        assert type_train(run) == sentence
    (run / "summary.json").unlink()
    before = digests(run)
    for typed in ((), ("decisions=160", f"resume={other}")):
        ending = str(type_train(run, *typed))
        assert f"{run / 'checkpoints' / 'last'} has weights that a run trained here, and {run / 'resume'} has" in ending
        assert digests(run) == before


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(
    tmp_path: Path, killed: Callable[[int, str], None]
) -> None:
    run = tmp_path / "run"
    for _ in range(2):
        killed(1, "before")
        with pytest.raises(Killed):
            type_train(run, "sac=golden_ticket", "sac.candidates=2")  # saves nothing before a validation
        assert read_manifest(RunFolder(run).checkpoint("last"))["notes"]["resumable"] is False
        write_checkpoint(run / "resume" / ".unfinished", {})  # killed while it was given its number


@pytest.mark.parametrize(
    "typed", ["eval_every=30", "eval_episodes=7", "keep_checkpoints=1", "test_seed=1000", "plot=true"]
)
def test_evaluations_and_checkpoints_of_a_finished_run_may_change(typed: str, run: Path) -> None:
    assert type_train(run, typed) is None
    assert _summary(run)["decisions"] == 120
    assert type_eval(f"run={run}") is None


@pytest.mark.parametrize(
    "typed", ["seed=1", "utd=0.5", "batch_size=8", "noise.magnitude=0.5", "warmup_decisions=60", "gamma=0.9"]
)
def test_a_value_that_must_not_change_is_named(typed: str, run: Path, tmp_path: Path) -> None:
    key = {"gamma": "sac.gamma"}.get(typed.partition("=")[0], typed.partition("=")[0])
    for where in ((run,), (tmp_path / "other", f"resume={run}")):
        ending = str(type_train(*where, "decisions=160", typed))
        assert f"{key}=" in ending
        assert "but the checkpoint in" in ending
        assert "\n" not in ending


@pytest.mark.parametrize("typed", ["validation_seed=2500000", "validation_seed=2500000 validation_episodes=7"])
def test_validations_stay_in_their_worlds(typed: str, run: Path, tmp_path: Path) -> None:
    """The worlds that chose the best policy neither change, nor become those that confirm it."""
    before = digests(run)
    for where in ((run,), (tmp_path / "other", f"resume={run}")):
        ending = str(type_train(*where, "decisions=160", *typed.split(), "confirm_seed=2000000"))
        assert ending.startswith(f"error: {typed} but this run's best policy was chosen with validation_seed=2000000")
        assert ending.endswith("or start a new run in another hydra.run.dir")
        assert digests(run) == before
    works = ending.partition("; type ")[2].partition(", or")[0].split()
    assert "share worlds" in str(type_train(run, "decisions=160", *works, "confirm_seed=2000000"))


def test_a_run_of_before_an_option_existed_is_extended_with_what_it_did(run: Path) -> None:
    store = Checkpoints(RunFolder(run).resume, 2)
    state = store.newest(pytest.fail)
    assert state is not None
    del state["identity"]["sac.discount_at_limit"]
    store.save(state["decisions"], state)
    assert "a run with sac.discount_at_limit=1.0; give it" in str(type_train(run, "decisions=160"))
    assert type_train(run, "decisions=160", "sac.discount_at_limit=1") is None


def test_the_weights_of_a_run_that_is_being_extended_can_be_evaluated(run: Path) -> None:
    (run / "summary.json").unlink()
    folder = RunFolder(run)
    config = folder.config.read_text().replace("decisions: 120", "decisions: 160")
    folder.write_configs({"config.yaml": config})  # and the process is killed
    for checkpoint in ("best", "last"):
        assert type_eval(f"run={run}", f"checkpoint={checkpoint}") is None


def test_a_search_is_not_extended(tmp_path: Path) -> None:
    search = ("sac=golden_ticket", "sac.candidates=2")  # which uses no warm-up
    assert type_train(tmp_path / "run", *search) is None
    ending = str(type_train(tmp_path / "run", *search, "decisions=160"))
    assert "decisions=160 but the checkpoint in" in ending


def test_other_code_is_reported_in_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(provenance, "git_state", lambda: {"git_commit": "f" * 40, "git_changed": []})
    assert type_train(run, "decisions=160") is None
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "the code has changed" in line]
    assert "this is ffffffffff" in line
    assert "the code has changed" in (run / "train.log").read_text()
