"""A refused command leaves the folder of a finished run byte by byte as it was, and eval.py finds the same numbers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from toys.requests import newest_evaluation
from toys.typed import digests, type_eval, type_train

from dsrl.run.saved.folder import RunFolder
from dsrl.training import replay_memory

REFUSED = {
    "wrong value": ("gamma=1.5", "gamma=1.5 must be"),
    "negative": ("decisions=-1", "decisions=-1 must be"),
    "not used": ("sac.replay=noise", "sac.replay needs sac=dsrl_edit or sac=dsrl_na"),
    "zero": ("eval_every=0", "eval_every=0 must be"),
    "seed": ("seed=1", "seed=1 but the checkpoint in"),
    "worlds": ("num_envs=3", "num_envs=3 but the checkpoint in"),
    "horizon": ("horizon=1", "is of a run with horizon=null; give it the same value"),
    "sentence": ("task.instruction=lift", "task.instruction=lift is not used, because this policy reads no sentence"),
    "algorithm": ("sac.hidden=32", "sac.hidden=32 but the checkpoint in"),
    "task": ("task.max_steps=11", "task.max_steps=11 but the checkpoint in"),
    "noise": ("noise.magnitude=0.5", "noise.magnitude=0.5 but the checkpoint in"),
    "fewer decisions": ("decisions=60", "decisions=60 is less than the 120 that the checkpoint has taken; type"),
    "smaller replay": ("buffer_size=50", "buffer_size=50 makes replay smaller than the checkpoint's 120 transitions"),
    "logging mode": ("logging=wandb logging.wandb.mode=nowhere", "logging.wandb.mode=nowhere must be"),
    "other run": ("resume=nowhere", "resume=nowhere does not exist"),
    "offline data": ("sac=dsrl_na offline_data=nowhere", "offline_data=nowhere"),
    "worlds that overlap": ("validation_seed=1000001", "share worlds"),
}


@pytest.mark.parametrize(("typed", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_refused_command_leaves_a_finished_run_as_it_was(typed: str, sentence: str, run: Path) -> None:
    before = digests(run)
    ending = type_train(run, *typed.split())
    assert sentence in str(ending)
    assert str(ending).startswith("error: ")
    assert "\n" not in str(ending)
    assert digests(run) == before


def test_a_lack_of_memory_leaves_a_finished_run_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(run)
    monkeypatch.setattr(replay_memory, "available_memory", lambda: 100)
    assert "GiB are free" in str(type_train(run, "decisions=240"))
    assert digests(run) == before


@pytest.mark.parametrize("typed", ["seed=1", "gamma=2", "decisions=10", "noise.magnitude=0.5"])
def test_eval_finds_the_same_numbers_after_a_refused_command(typed: str, run: Path) -> None:
    assert type_train(run, typed) is not None
    assert type_eval(f"run={run}") is None
    summary, again = json.loads((run / "summary.json").read_text()), newest_evaluation(run)
    assert again["result"] == summary["steered"]


def test_damaged_checkpoints_stay_until_a_command_is_accepted(run: Path) -> None:
    (newest,) = (run / "resume" / "000000120").glob("*.safetensors")
    newest.write_bytes(b"damaged")
    before = digests(run)
    assert "seed=1 but the checkpoint in" in str(type_train(run, "seed=1"))
    assert digests(run) == before
    shutil.rmtree(run / "resume" / "000000080")
    before = digests(run)
    assert "logging.wandb.mode=nowhere" in str(type_train(run, "logging=wandb", "logging.wandb.mode=nowhere"))
    assert digests(run) == before


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize("damaged", ["*.safetensors", "manifest.json"])
def test_a_run_whose_checkpoints_are_all_damaged_is_never_started_over(
    damaged: str, has_ended: bool, run: Path
) -> None:
    if not has_ended:
        (run / "summary.json").unlink()
    for path in (run / "resume").glob(f"*/{damaged}"):
        path.write_bytes(path.read_bytes() + b"x")
        if damaged == "manifest.json":
            path.unlink()
    before, sentence = digests(run), f"none of the 2 checkpoints in {run / 'resume'} is complete; restore one, or "
    assert type_train(run) == (None if has_ended else f"error: {sentence}name another hydra.run.dir")
    assert "name another hydra.run.dir" in str(type_train(run, "decisions=240"))
    other = str(type_train(run.parent / "other", f"resume={run}", "decisions=240"))
    assert other == f"error: {sentence}type the folder of another run as resume"
    assert digests(run) == before


def test_the_same_command_again_changes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = digests(run)
    assert type_train(run) is None
    assert "finished before" in capsys.readouterr().out
    assert digests(run) == before


def test_a_refused_first_command_leaves_its_reason_and_the_folder_can_be_used(tmp_path: Path) -> None:
    assert "offline_data=nowhere" in str(type_train(tmp_path / "run", "sac=dsrl_na", "offline_data=nowhere"))
    assert "offline_data=nowhere" in (tmp_path / "run" / "failure.txt").read_text()
    assert type_train(tmp_path / "run") is None
    assert not (tmp_path / "run" / "failure.txt").exists()


def test_a_refused_run_alone_gets_no_folder(tmp_path: Path) -> None:
    for name in ("run", "mine"):
        (tmp_path / name).mkdir()  # as Hydra does before it calls train.py
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    for name in ("run", "mine"):
        assert "gamma=3" in str(type_train(tmp_path / name, "gamma=3"))
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["mine", "mine/thesis.txt"]


def test_the_same_command_twice_at_once_ends_in_one_sentence(run: Path) -> None:
    before = digests(run)
    with RunFolder(run).claimed():
        ending = str(type_train(run, "decisions=240"))
        assert ending.startswith("error: ")
        assert "\n" not in ending
        assert f"is in use by process {os.getpid()}" in ending
    assert digests(run) == before


def test_the_lock_of_a_killed_process_does_not_matter(run: Path) -> None:
    (run / ".lock").write_text("process 1 on another-machine\n")
    assert type_train(run, "decisions=160") is None
