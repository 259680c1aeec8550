"""Folders of sweeps and messages in them: no link is followed, and the command that continues names the sweep."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from toys.commands import ROOT, SHORT_PENDULUM, type_command
from toys.complaints import composed

from dsrl.run.config.hydra_callbacks import OutputSubdir, SweepFolder, SweepLock
from dsrl.run.saved.folder import RunFolder
from dsrl.run.train import _folder


def _config(sweep: Path) -> DictConfig:
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep)}}})


@pytest.mark.parametrize("name", ["multirun.yaml", "0", "0/.hydra", "optimization_results.yaml", "study.db"])
def test_a_link_out_of_the_folder_of_a_sweep_is_refused(name: str, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    (sweep / name).parent.mkdir(parents=True)
    (sweep / name).symlink_to(tmp_path / "canary")
    with pytest.raises(SystemExit, match="is a link that leads out of the run's folder; remove it"):
        SweepFolder().on_multirun_start(_config(sweep))


@pytest.mark.parametrize("name", ["multirun.yaml", "study.db", "study.db-wal", ".sweep.lock"])
def test_a_file_of_a_sweep_that_has_another_name_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "canary").write_text("mine")
    (tmp_path / "sweep" / name).hardlink_to(tmp_path / "canary")
    with pytest.raises(SystemExit, match=f"{name} is a hard link: its content has another name elsewhere; put a copy"):
        SweepFolder().on_multirun_start(_config(tmp_path / "sweep"))


def test_names_in_the_folder_of_a_sweep_do_not_drive_the_terminal(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    (sweep / "0").mkdir(parents=True)
    (sweep / "0" / "\x1b]0;mine\x07").symlink_to(tmp_path / "canary")
    with pytest.raises(SystemExit) as refused:
        SweepFolder().on_multirun_start(_config(sweep))
    assert str(refused.value).isprintable()
    assert "is a link that leads out of the run's folder; remove it" in str(refused.value)


def test_hydra_writes_through_no_link_in_the_folder_of_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "canary").write_text("mine")
    (tmp_path / "sweep" / "multirun.yaml").symlink_to(tmp_path / "canary")
    done = type_command("train.py", "-m", "seed=0,1", *SHORT_PENDULUM, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "canary").read_text() == "mine"


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_file_in_place_of_a_folder_is_one_sentence(key: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    flags = ["-m", "seed=0,1"] if key == "hydra.sweep.dir" else []
    done = type_command("train.py", *flags, *SHORT_PENDULUM, f"{key}={tmp_path / 'file'}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_messages_of_a_run_of_a_sweep_name_the_sweep(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "sweep" / "0", tmp_path / "sweep").option == f"hydra.sweep.dir={tmp_path / 'sweep'}"
    assert RunFolder(tmp_path / "a run").option == f"'hydra.run.dir={tmp_path / 'a run'}'"


@pytest.mark.parametrize(("typed", "is_trial"), [("hparams=none", False), ("hparams=optuna", True)])
def test_the_same_command_continues_a_run_of_a_sweep_but_no_trial_of_a_search(
    typed: str, is_trial: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = composed("task=pendulum", typed, "hydra.mode=MULTIRUN", f"hydra.sweep.dir={tmp_path}")
    cfg.hydra.runtime.output_dir = str(tmp_path / "0")
    monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg)
    effect = "goes on with other values and counts this trial as failed" if is_trial else "continues from 80 decisions"
    found = _folder(cfg).same_command("continues from 80 decisions")
    assert found == f"the same command with hydra.sweep.dir={tmp_path} {effect}"


def test_a_sweep_that_is_stopped_names_its_own_folder(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    command = [sys.executable, str(ROOT / "train.py"), "-m", "seed=0,1", *SHORT_PENDULUM, "decisions=20000"]
    process = subprocess.Popen(
        [*command, f"hydra.sweep.dir={sweep}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (sweep / "0" / "resume").exists():
        time.sleep(0.05)
        assert process.poll() is None
    words = rf"in use by process {process.pid} on .+; wait for it, or type hydra\.sweep\.dir=<another folder>$"
    with pytest.raises(SystemExit, match=words):
        SweepLock().on_multirun_start(_config(sweep))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    assert f"the same command with hydra.sweep.dir={sweep} continues from" in out
    assert "Traceback" not in err


def test_a_sweep_locks_its_folder_after_all_checks_and_its_jobs_do_not(tmp_path: Path) -> None:
    for typed in ((), ("hparams=optuna", "cluster=slurm")):
        *checks, lock, study = composed("task=pendulum", *typed).hydra.callbacks
        assert (lock, study) == ("sweep_lock", "continued_study")
        assert {"output_subdir", "sweep_folder"} <= {*checks}
    first, second = SweepLock(), SweepLock()
    first.on_multirun_start(_config(tmp_path / "sweep"))
    assert pickle.loads(pickle.dumps(first))._file is None
    with pytest.raises(SystemExit, match=r"^error: \S+sweep is in use by process \d+ on"):
        second.on_multirun_start(_config(tmp_path / "sweep"))
    first.on_multirun_end(_config(tmp_path / "sweep"))
    second.on_multirun_start(_config(tmp_path / "sweep"))
    second.on_multirun_end(_config(tmp_path / "sweep"))
    SweepFolder().on_multirun_start(_config(tmp_path / "sweep"))


def test_a_folder_of_hydra_in_that_of_a_run_is_refused() -> None:
    for check in (OutputSubdir().on_run_start, OutputSubdir().on_multirun_start):
        check(OmegaConf.create({"hydra": {"output_subdir": None}}))
        with pytest.raises(SystemExit, match=r"^error: hydra\.output_subdir=x must be null, .+; leave it out$"):
            check(OmegaConf.create({"hydra": {"output_subdir": "x"}}))


def test_ctrl_c_before_the_run_has_begun_has_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *SHORT_PENDULUM, f"hydra.run.dir={tmp_path / 'run'}"]
    for seconds in (1.0, 3.0):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (128 + signal.SIGINT, 0)
        assert "Traceback" not in err
