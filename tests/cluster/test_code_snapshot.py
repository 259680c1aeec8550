"""The copy of the code from which submitted jobs start."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from toys.commands import ROOT

from dsrl.run.saved import provenance
from dsrl.run.saved.provenance import git, git_state
from dsrl.run.terminal.errors import UserError
from hydra_plugins.dsrl_launcher import _code_snapshot
from hydra_plugins.dsrl_launcher._code_snapshot import make_snapshot, python_on


def test_a_snapshot_contains_all_that_a_job_reads_and_the_commit_it_was_made_from(tmp_path: Path) -> None:
    first, second = make_snapshot(tmp_path), make_snapshot(tmp_path)
    assert (first, second) == (tmp_path / ".snapshot" / "0", tmp_path / ".snapshot" / "1")
    for name in (
        "train.py",
        "conf/train.yaml",
        "dsrl/run/components/build.py",
        "hydra_plugins/dsrl_launcher/__init__.py",
    ):
        assert (first / name).read_bytes() == (ROOT / name).read_bytes()
    assert (first / "dsrl" / "assets" / "simple_pick" / "model.safetensors").is_file()
    assert not list(first.rglob("__pycache__"))
    assert json.loads((first / "submitted.json").read_text()) == git_state()


def test_a_snapshot_without_an_answer_of_git_does_not_say_that_nothing_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ("", None):
        monkeypatch.setattr(_code_snapshot, "git", lambda *_, answer=answer: answer)
        assert (make_snapshot(tmp_path) / "changes.diff").exists() == (answer is not None)


def test_changes_that_are_no_utf_8_are_read_in_a_clone_of_another_user_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(provenance, "IN_CLONE", True)
    (tmp_path / "a.txt").write_text("name: \n")
    for command in ("init -q", "add a.txt", "-c user.name=a -c user.email=a@b commit -qm a"):
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    (tmp_path / "a.txt").write_bytes("name: Jürgen\n".encode("latin-1"))
    assert "+name: J\ufffdrgen" in str(git("diff", "HEAD"))


def test_a_snapshot_is_never_written_into_a_folder_that_exists(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".snapshot").mkdir()
    (tmp_path / ".snapshot" / "0").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".snapshot" / "2").mkdir()
    assert make_snapshot(tmp_path) == tmp_path / ".snapshot" / "1"
    assert make_snapshot(tmp_path) == tmp_path / ".snapshot" / "3"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_in_place_of_the_snapshots_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".snapshot").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"\.snapshot must be a folder of your own, not a link"):
        make_snapshot(tmp_path)


def test_python_on_a_snapshot_imports_from_it_and_not_from_the_working_directory(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path)
    (snapshot / "submitted.json").write_text('{"git_commit": "of the submission", "git_changed": []}')
    code = "from dsrl.run.saved import provenance; print(provenance.__file__, provenance.git_state()['git_commit'])"
    command = f'{python_on(snapshot)} -c "{code}"'
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{snapshot / 'dsrl' / 'run' / 'saved' / 'provenance.py'} of the submission\n"
