"""Submitted runs: the copy of the code that they start from, and what the submitting terminal shows of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest
from hydra.core.utils import JobReturn, JobStatus

from dsrl.run.provenance import git_state
from dsrl.run.signals import Signals, Stopped
from hydra_plugins.dsrl_launcher import _report as report
from hydra_plugins.dsrl_launcher._code_snapshot import freeze, python_on
from hydra_plugins.dsrl_launcher._slurm import states
from hydra_plugins.dsrl_launcher._watch import Ended, Job

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    *("task=pendulum", "num_envs=2", "task.max_steps=20", "decisions=120", "warmup_decisions=40", "eval_every=80"),
    *("eval_episodes=5", "validation_episodes=2", "logging=csv", "sac.hidden=16"),
)


def _ended(number: int, problem: str | None, *overrides: str, log: Path = Path("none.err")) -> Ended:
    value = JobReturn(status=JobStatus.COMPLETED)
    value.return_value = 0.25 * number
    job = Job(number, overrides, Path(f"multirun/x/{number}"), start=lambda: pytest.fail("has been started"))
    return Ended(job, None if problem else value, problem, log)


def test_a_snapshot_holds_what_a_job_reads_and_says_where_it_comes_from(tmp_path: Path) -> None:
    first, second = freeze(tmp_path), freeze(tmp_path)
    assert (first, second) == (tmp_path / ".snapshot" / "0", tmp_path / ".snapshot" / "1")
    for name in ("train.py", "conf/train.yaml", "dsrl/run/build.py", "hydra_plugins/dsrl_launcher/__init__.py"):
        assert (first / name).read_bytes() == (ROOT / name).read_bytes()
    assert (first / "dsrl" / "assets" / "simple_pick" / "model.safetensors").is_file()
    assert not list(first.rglob("__pycache__"))
    assert json.loads((first / "submitted.json").read_text()) == git_state()


def test_python_on_a_snapshot_imports_from_it_and_not_from_the_working_directory(tmp_path: Path) -> None:
    snapshot = freeze(tmp_path)
    (snapshot / "submitted.json").write_text('{"git_commit": "of the submission", "git_changed": []}')
    code = "from dsrl.run import provenance; print(provenance.__file__, provenance.git_state()['git_commit'])"
    command = f'{python_on(snapshot)} -c "{code}"'
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{snapshot / 'dsrl' / 'run' / 'provenance.py'} of the submission\n"


def test_the_table_shows_in_which_overrides_the_jobs_differ() -> None:
    all_ended = [
        _ended(1, None, "task=pendulum", "seed=0", "sac.alpha=0.1"),
        _ended(2, "killed", "task=pendulum", "seed=1", "sac.alpha=0.1"),
    ]
    assert report.table(all_ended).splitlines() == [
        "job  overrides  ended   score  run folder",
        "1    seed=0     done    0.25   multirun/x/1",
        "2    seed=1     FAILED  -      multirun/x/2",
    ]


def test_a_failure_is_told_with_the_last_lines_of_its_stderr(tmp_path: Path) -> None:
    log = tmp_path / "1_0_log.err"
    log.write_text("".join(f"line {i}\n" for i in range(100)))
    block = report.failure_block(_ended(1, "ValueError: no", "seed=0", "cluster.partition=gpu", log=log))
    assert "── job 1 failed" in block
    for line in ("  ValueError: no", "  overrides   seed=0", "  run folder  multirun/x/1", f"  log         {log}"):
        assert line in block.splitlines()
    assert block.splitlines()[-2] == "    line 99"
    assert "line 79" not in block
    assert "line 80" in block


def test_where_slurm_does_not_answer_nothing_is_known_about_a_job(
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
    command = [sys.executable, str(ROOT / "train.py"), *TINY, "cluster=local", "cluster.parallel=1", "batch_size=0,16"]
    done = subprocess.run(
        [*command, "hydra.sweep.dir=sweep"], cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 1
    assert "── job 0 failed" in done.stdout
    assert "    dsrl.run.errors.UserError: batch_size=0 is too small; type a number of at least 1" in done.stdout
    assert "error: 1 of 2 jobs failed (0); the log of the first is" in done.stderr
    score = json.loads((tmp_path / "sweep" / "1" / "summary.json").read_text())["steered"]["mean_return"]
    table = done.stdout[done.stdout.index("job  overrides") :].splitlines()
    assert table[2].split() == ["1", "batch_size=16", "done", f"{score:.4g}", "sweep/1"]
    hydra = (tmp_path / "sweep" / "1" / ".hydra" / "hydra.yaml").read_text()
    assert str(tmp_path / "sweep" / ".snapshot" / "0" / "conf") in hydra


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["cluster=slurm", "cluster.parallel=0"], "cluster.parallel=0 lets no job run; type a number of at least 1"),
        (["cluster=slurm", "cluster.hours=0.05"], "cluster.signal_delay=300 s leaves nothing of cluster.hours=0.05"),
        (["cluster.partition=gpu"], "cluster.… is no option without a cluster; type cluster=slurm or"),
    ],
)
def test_what_no_cluster_can_do_is_one_sentence(overrides: list[str], sentence: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "task=pendulum", *overrides]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert sentence in line


def test_a_sigterm_after_sigusr2_does_not_undo_the_request_to_go_on_elsewhere() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGTERM)
        assert signals.asked == signal.SIGTERM
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGTERM)
        assert signals.asked == signal.SIGUSR2


def test_a_signal_that_comes_again_does_not_disturb_the_handler_that_requeues() -> None:
    seen: list[int] = []

    def requeue(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            signal.raise_signal(signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(Stopped):
            _stopped_by_sigusr2()
        assert seen == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def _stopped_by_sigusr2() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGUSR2)
        signals.stop_if_asked()
