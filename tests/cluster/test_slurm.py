"""Sweeps on a real controller: signals, requeues, failures, and edits of the code after the submission."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from toys.browser import CHROMIUM, visit
from toys.canary import plant
from toys.runs import results
from toys.slurm_sweeps import Sweep, project, slurm, until, why_not

from dsrl.run.saved.checkpoint import read_manifest
from scripts.compare import __main__ as compare

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

Sweeps = tuple[Sweep, Sweep]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweeps]:
    """Return two finished sweeps. On the way their jobs are interrupted:

    four equal runs:    0 gets SIGUSR2, 1 is requeued by the administrator, 2 gets SIGTERM, 3 is not interrupted
    one run at a time:  0 fails, 1 is cancelled, 2 is not interrupted
    """
    folder = project(tmp_path_factory.mktemp("slurm") / "project")
    same = "keep_checkpoints=2,3", "video_episodes=0,1", "batch_size=16"
    arrays = (f"{array}_{task}" for array in range(500) for task in range(3))  # the next ones of a new controller
    plant(folder / "multirun" / "serial", folder / "sign", arrays)
    four = Sweep(folder, "four", 4, *same, "cluster.parallel=2", "cluster.partition=long", flags=("-m",))
    serial = Sweep(folder, "serial", 3, "buffer_size=1,1000,1001", "cluster.parallel=1")
    try:
        until(four.submitted, four, serial)
        until(serial.submitted, serial, four)
        _edit(folder)
        _interrupt(four, serial)
        until(four.ended, four, serial)
        until(serial.ended, serial, four)
        yield four, serial
    finally:
        four.stop()
        serial.stop()


def _interrupt(four: Sweep, serial: Sweep) -> None:
    """Interrupt each of four jobs as soon as it is in the middle of its training, in whatever order they get there."""
    due: list[tuple[Sweep, int, Callable[[], object]]] = [
        (four, 0, lambda: four.signal(0, "USR2")),
        (four, 1, lambda: slurm("scontrol", "requeue", f"{four.number}_1")),
        (four, 2, lambda: four.signal(2, "TERM")),
        (serial, 1, lambda: slurm("scancel", f"{serial.number}_1")),
    ]

    def all_interrupted() -> bool:
        for one in [(sweep, job, act) for sweep, job, act in due if sweep.at_work(job)]:
            due.remove(one)
            one[2]()
        return not due

    until(all_interrupted, four, serial)


def _edit(project: Path) -> None:
    """Change a default and break the code."""
    main = project / "conf" / "train.yaml"
    main.write_text(main.read_text().replace("\nutd: 1.0", "\nutd: 7.0"))
    (project / "dsrl" / "run" / "train.py").write_text("raise RuntimeError('edited after submission')\n")


def test_a_sweep_ends_with_a_summary_and_a_line_for_every_job(sweeps: Sweeps) -> None:
    four, _ = sweeps
    assert four.exit_code == 0, four.text
    table = four.text[four.text.index("job  result") :].splitlines()
    for number, line in enumerate(table[1:]):
        summary = json.loads((four.folder / str(number) / "summary.json").read_text())
        words = line.split()
        assert words[0] == str(number)
        assert words[1:4] == ["done", f"{summary['best_validation']:.4g}", str(number)]
    assert table[1].split()[4:] == ["keep_checkpoints=2", "video_episodes=0"]
    assert len(table) == 5
    assert max(map(len, table)) <= 80


@pytest.mark.parametrize(("job", "how"), [(0, "SIGUSR2"), (1, "scontrol requeue"), (2, "SIGTERM")])
def test_an_interrupted_job_has_the_results_of_an_uninterrupted_one(job: int, how: str, sweeps: Sweeps) -> None:
    four, _ = sweeps
    assert "continuing after" in four.log(job), how
    assert "continuing after" not in four.log(3)
    assert results(four.folder / str(job)) == results(four.folder / "3")
    assert _newest_digest(four.folder / str(job)) == _newest_digest(four.folder / "3")


def _newest_digest(run: Path) -> str:
    """Return the digest of the newest full checkpoint, replay included."""
    newest = max((run / "resume").glob("0*"))
    (digest,) = [sha for name, sha in read_manifest(newest)["files"].items() if name.endswith(".safetensors")]
    return str(digest)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_the_comparison_of_a_sweep_shows_the_scores_of_its_summaries(sweeps: Sweeps, tmp_path: Path) -> None:
    four, _ = sweeps
    compare.main([str(four.folder), "--out", str(tmp_path / "compare")])
    found = json.loads((tmp_path / "compare" / "comparison.json").read_text())
    summary = json.loads((four.folder / "3" / "summary.json").read_text())
    score = f"{summary['steered']['mean_return']:.2f}"
    rows = [(row[0], row[2], row[4]) for row in found["tables"][0]["rows"]]
    assert rows == [("sac=dsrl_sac", score, score)]  # the differing options change no score, and make no method
    visited = visit(tmp_path / "compare" / "report.html", tmp_path / "profile")
    assert visited.console == []
    assert visited.requests == []
    assert visited.dom.count(score) >= 2


def test_an_array_with_parallelism_one_never_runs_two_jobs(sweeps: Sweeps) -> None:
    four, serial = sweeps
    assert serial.held_back
    assert serial.running_at_once == 1
    assert four.running_at_once == 2


def test_edits_after_the_submission_change_nothing_that_is_queued(sweeps: Sweeps) -> None:
    four, serial = sweeps
    for sweep, job in ((four, 3), (serial, 2)):
        saved = OmegaConf.load(sweep.folder / str(job) / ".hydra" / "config.yaml")
        assert saved.utd == 1.0
        assert "edited after submission" not in sweep.log(job)


def test_a_job_that_fails_is_shown_with_its_log_and_the_others_end(sweeps: Sweeps) -> None:
    _, serial = sweeps
    assert serial.exit_code == 1
    block = serial.text[serial.text.index("── job 0 failed") :]
    (log,) = serial.folder.glob(f".submitit/*/{serial.number}_0_0_log.err")
    assert f"log         {log.relative_to(serial.folder.parents[1])}" in block
    assert "buffer_size=1 " in block
    assert "run folder  multirun/serial/0" in block
    assert "UserError: buffer_size=1 must be at least the 2 worlds of num_envs" in " ".join(block.split())
    assert (serial.folder / "2" / "summary.json").is_file()
    assert f"error: 2 of 3 jobs failed (0, 1); the log of the first is {log}" in serial.text


def test_a_cancelled_job_is_not_queued_again(sweeps: Sweeps) -> None:
    _, serial = sweeps
    assert not (serial.folder / "1" / "summary.json").exists()
    assert "finished without a result: it was cancelled" in serial.text[serial.text.index("── job 1 failed") :]
    assert "JobState=CANCELLED" in slurm("scontrol", "show", "job", f"{serial.number}_1")


def test_a_launch_loads_nothing_that_was_planted_in_the_folder_of_its_sweep(sweeps: Sweeps) -> None:
    _, serial = sweeps
    number = int(serial.number)
    assert (serial.folder / ".submitit" / f"{number}_0" / f"{number}_0_0_result.pkl").exists(), "planted too few"
    assert not (serial.folder.parents[1] / "sign").exists()
