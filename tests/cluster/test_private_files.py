"""A launch reads pickles that its own jobs wrote, and no others, whatever lies in the folder of the sweep."""

from __future__ import annotations

import json
import os
import pickle
import stat
from pathlib import Path
from typing import NamedTuple

import pytest
from submitit.core.utils import JobPaths
from toys.canary import Canary, coming_processes, plant
from toys.commands import SHORT_PENDULUM, TRAINING_ALONE, type_command

from dsrl.run.terminal.errors import UserError
from hydra_plugins.dsrl_launcher._outcome import Run
from hydra_plugins.dsrl_launcher._private_files import ForeignFileError, make_private_folder, read_pickle
from hydra_plugins.dsrl_launcher._processes import Queue
from hydra_plugins.dsrl_launcher._watch import Job, watch


def test_a_launch_in_a_foreign_folder_loads_nothing_that_was_planted_there(tmp_path: Path) -> None:
    sweep, sign = tmp_path / "sweep", tmp_path / "sign"
    plant(sweep, sign, coming_processes())
    planted = {path for path in sweep.rglob("*") if path.is_file()}
    launched = ("cluster=local", "cluster.gpus=0", "hydra.sweep.dir=sweep")
    command = ("train.py", *SHORT_PENDULUM, *TRAINING_ALONE, *launched)
    first = type_command(*command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    summary = (sweep / "0" / "summary.json").read_bytes()
    score = f"{json.loads(summary)['best_validation']:.4g}"
    assert first.stdout.splitlines()[-1].split() == ["0", "done", score, "0", "-"]
    assert not sign.exists()

    pickles = set(sweep.rglob("*.pkl")) - planted
    assert len(pickles) == 2  # a submission and a result
    (folder,) = {path.parents[1] for path in pickles}
    assert folder.parent == sweep / ".submitit"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_planted_pickle_would_have_shown_that_it_was_loaded(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "sign")))
    assert (tmp_path / "sign").exists()


def test_every_launch_has_a_new_folder_that_only_its_user_can_enter(tmp_path: Path) -> None:
    first, second = make_private_folder(tmp_path / "a" / "b"), make_private_folder(tmp_path / "a" / "b")
    assert first != second
    assert first.parent == second.parent == tmp_path / "a" / "b" / ".submitit"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (first, first.parent)] == [0o700, 0o700]


def test_a_link_in_place_of_the_hidden_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".submitit").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"\.submitit must be a folder of your own, not a link; type another hydra\."):
        make_private_folder(tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_sweep_folder_with_a_percent_sign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hydra\.sweep\.dir=.*x%j must not contain %"):
        make_private_folder(tmp_path / "x%j")


def test_a_pickle_is_read_only_from_a_regular_file(tmp_path: Path) -> None:
    whole, link, pipe = tmp_path / "whole.pkl", tmp_path / "link.pkl", tmp_path / "pipe.pkl"
    whole.write_bytes(pickle.dumps(("success", 1)))
    link.symlink_to(whole)
    os.mkfifo(pipe)
    assert read_pickle(whole) == ("success", 1)
    assert read_pickle(tmp_path / "missing.pkl") is None
    for path in (link, pipe, tmp_path):
        with pytest.raises(ForeignFileError, match=f"{path} was not read"):
            read_pickle(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_pickle_of_another_user_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "result.pkl"
    path.write_bytes(pickle.dumps(Canary(tmp_path / "sign")))
    os.chown(path, 12345, 12345)
    with pytest.raises(ForeignFileError, match="regular file of your own"):
        read_pickle(path)
    assert not (tmp_path / "sign").exists()


class Finished(NamedTuple):
    """A process that has exited, as submitit's LocalJob."""

    job_id: str
    paths: JobPaths

    def done(self) -> bool:
        return True


def test_a_result_that_is_a_link_is_a_failed_job_and_is_not_loaded(tmp_path: Path) -> None:
    handle = Finished("7", JobPaths(tmp_path / "%j", "7"))
    handle.paths.folder.mkdir()
    (tmp_path / "planted.pkl").write_bytes(pickle.dumps(("success", Canary(tmp_path / "sign"))))
    handle.paths.result_pickle.symlink_to(tmp_path / "planted.pkl")
    queue = Queue()
    job = Job(Run(0, (), tmp_path / "0"), start=lambda: queue.start(lambda: handle))
    (outcome,) = watch([job], queue, 1, lambda _: None, lambda _: None)
    assert outcome.problem is not None
    assert "7_0_result.pkl was not read" in outcome.problem
    assert not (tmp_path / "sign").exists()
