"""Launches as they are typed: several runs in this process or in processes of their own, and refused options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys.commands import SHORT_PENDULUM, TRAINING_ALONE, type_command
from toys.typed import type_train

from hydra_plugins.dsrl_launcher._slurm import states
from scripts.compare.runs import gather

SMALL = ("train.py", *SHORT_PENDULUM, *TRAINING_ALONE, "logging=csv")


def _score(run: Path) -> str:
    return f"{json.loads((run / 'summary.json').read_text())['best_validation']:.4g}"


def test_the_states_of_jobs_are_unknown_while_slurm_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert states(["7_0"]) is None
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n")
    assert states(["7_0"]) == {}


def test_local_processes_run_without_further_flags_and_the_failed_one_is_shown(tmp_path: Path) -> None:
    done = type_command(*SMALL, "buffer_size=1,1000", "hydra.sweep.dir=sweep", "cluster=local", "cluster.parallel=1",
                        cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert "── job 0 failed" in done.stdout
    assert "UserError: buffer_size=1 must be at least the 2 worlds of num_envs" in " ".join(done.stdout.split())
    assert "last lines of the log" not in done.stdout  # a traceback says nothing more
    assert "job 1 done: sweep/1" in done.stdout
    assert "error: 1 of 2 jobs failed (0); the log of the first is" in done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "results in sweep",
        "job  result  validation  folder  overrides",
        "0    FAILED  -           0       buffer_size=1",
        f"1    done    {_score(tmp_path / 'sweep' / '1'):10}  1       buffer_size=1000",
    ]
    hydra = (tmp_path / "sweep" / "1" / ".hydra" / "hydra.yaml").read_text()
    assert str(tmp_path / "sweep" / ".snapshot" / "0" / "conf") in hydra
    _check_refused(tmp_path / "sweep", ["buffer_size=1 must be at least the 2 worlds"], ["failed", "finished"])
    assert type_train(tmp_path / "sweep" / "0", "logging=csv", *TRAINING_ALONE) is None  # the folder can be used
    assert [run.state for run in gather([str(tmp_path / "sweep")])] == ["finished", "finished"]


def test_a_multirun_in_this_process_ends_with_the_table_of_a_sweep_which_may_lie_beside(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    more = ("warmup_decisions=800,900,40", "hydra.sweep.dir=../sweep", "-m")
    done = type_command(*SMALL, *more, cwd=tmp_path / "here")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "── job 0 failed" in done.stdout
    assert "── job 1 failed" in done.stdout
    assert "\n  dsrl.run.terminal.errors.UserError: warmup_decisions=800 leaves nothing of\n" in done.stdout
    assert "\n  log " not in done.stdout  # the file of a refused run has the sentence above alone
    assert "error: warmup_decisions=800 leaves nothing of decisions=120" in done.stderr
    assert done.stdout.splitlines()[-5:] == [
        "results in ../sweep",
        "job  result  validation  folder  overrides",
        "0    FAILED  -           0       warmup_decisions=800",
        "1    FAILED  -           1       warmup_decisions=900",
        f"2    done    {_score(tmp_path / 'sweep' / '2'):10}  2       warmup_decisions=40",
    ]
    refusals = [f"warmup_decisions={warmup} leaves nothing of decisions=120" for warmup in (800, 900)]
    _check_refused(tmp_path / "sweep", refusals, ["failed", "failed", "finished"])


def _check_refused(sweep: Path, refusals: list[str], states: list[str]) -> None:
    """Check that the first jobs of a sweep have left one sentence each in their folders, and the states of all."""
    runs = gather([str(sweep)])
    assert [(run.path.name, run.state) for run in runs] == [(str(i), state) for i, state in enumerate(states)]
    for run, refusal in zip(runs, refusals, strict=False):
        assert run.reason.startswith(f"UserError: {refusal}")
        assert len((run.path / "failure.txt").read_text().splitlines()) == 1


def test_a_refused_run_alone_makes_no_folder(tmp_path: Path) -> None:
    assert type_command("train.py", *SHORT_PENDULUM, "decisions=-1", cwd=tmp_path).returncode == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["cluster=slurm", "cluster.parallel=0"], "cluster.parallel=0 must be between 1 and 100000"),
        (["cluster=slurm", "cluster.hours=0.05"], "cluster.signal_delay=300 s must be shorter than cluster.hours=0.05"),
        (["cluster=local", "cluster.gpus=-1"], "cluster.gpus=-1 must be between 0 and 1024"),
        (["cluster=local", "hydra.sweep.dir=x%j"], "hydra.sweep.dir=x%j must not contain %, which SLURM replaces"),
        (["cluster.partition=gpu"], "cluster.… needs cluster=local or cluster=slurm; type that too"),
    ],
)
def test_an_option_that_no_cluster_accepts_is_one_sentence(overrides: list[str], sentence: str, tmp_path: Path) -> None:
    done = type_command("train.py", "task=pendulum", *overrides, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert sentence in line
