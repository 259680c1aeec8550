"""Run folders from somebody else: no file outside is touched, nothing of the user's is lost, one sentence each."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from toys.typed import as_somebody_else, digests, type_eval, type_train

ENTRIES = (
    ".hydra",
    ".hydra/config.yaml",
    ".lock",
    "base.json",
    "base_vs_steered.mp4",
    "checkpoints",
    "checkpoints/best",
    "checkpoints/best/manifest.json",
    "checkpoints/config.yaml",
    "environment.json",
    "eval",
    "failure.txt",
    "learning_curve.png",
    "metrics.csv",
    "metrics.csv.partial",
    "metrics.jsonl",
    "resume",
    "resume/000000120",
    "resume/.unfinished",
    "summary.json",
    "summary.json.partial",
    "tensorboard",
    "train.log",
    "wandb_run_id.txt",
    "world_7.mp4",
)

NO_FILE_OF_A_RUN = ("world_7.mp4", "resume/000000120", "eval", "summary.json.partial")


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """End a test that waits, as for a pipe that nobody writes to."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _is_one_sentence(ending: str | int | None) -> bool:
    return isinstance(ending, str) and ending.startswith("error: ") and "\n" not in ending


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("command", ["train", "train on", "eval", "resume"])
@pytest.mark.parametrize("name", ENTRIES)
def test_no_command_follows_a_link_out_of_a_run_folder(name: str, command: str, run: Path, tmp_path: Path) -> None:
    canary, entry = tmp_path / "canary", run / name
    if entry.is_dir():
        shutil.copytree(entry, canary)
    else:
        canary.write_bytes(entry.read_bytes() if entry.is_file() else b"canary")
    before = digests(tmp_path / "canary") if canary.is_dir() else canary.read_bytes()
    _remove(entry)
    entry.symlink_to(canary)
    ending = {
        "train": lambda: type_train(run),
        "train on": lambda: type_train(run, "decisions=160"),
        "eval": lambda: type_eval(f"run={run}"),
        "resume": lambda: type_train(tmp_path / "other", f"resume={run}", "decisions=160"),
    }[command]()
    assert _is_one_sentence(ending), ending
    assert "is a link that leads out of the run's folder; remove it" in str(ending)
    assert (digests(tmp_path / "canary") if canary.is_dir() else canary.read_bytes()) == before
    assert entry.is_symlink()


@pytest.mark.parametrize("name", [".lock", "metrics.csv", "metrics.jsonl", "train.log"])
def test_a_run_writes_into_no_file_that_has_another_name_elsewhere(name: str, run: Path, tmp_path: Path) -> None:
    entry, canary = run / name, tmp_path / "canary"
    canary.write_bytes(entry.read_bytes() if entry.is_file() else b"")
    entry.unlink(missing_ok=True)
    entry.hardlink_to(canary)
    before = canary.read_bytes()
    for command in (lambda: type_train(run, "decisions=160", "logging=csv"), lambda: type_eval(f"run={run}")):
        ending = command()
        assert ending is None or f"{entry} is a hard link" in str(ending)
        assert canary.read_bytes() == before
    assert f"{entry} is a hard link: its content has another name elsewhere; put a copy in its place" in str(
        type_train(run, "decisions=160", "logging=csv")
    )


def test_files_of_a_run_that_have_another_name_elsewhere_are_replaced(run: Path, tmp_path: Path) -> None:
    names = [str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()]
    names = [name for name in names if name not in (".lock", "metrics.csv", "metrics.jsonl", "train.log")]
    for name in [*names, "eval.json", "metrics.csv.partial", "metrics.jsonl.partial"]:
        canary = tmp_path / "canaries" / name
        canary.parent.mkdir(parents=True, exist_ok=True)
        canary.write_bytes((run / name).read_bytes() if name in names else b"mine")
        (run / name).unlink(missing_ok=True)
        (run / name).hardlink_to(canary)
    before = digests(tmp_path / "canaries")
    assert type_train(run, "decisions=160", "logging=csv") is None
    assert type_eval(f"run={run}") is None
    assert digests(tmp_path / "canaries") == before


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes devices")
    os.mknod(path, 0o020666, os.makedev(1, 5))  # /dev/zero: reading it never ends


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("make", [_pipe, _device, _socket, Path.mkdir, "link to itself"])
@pytest.mark.parametrize("name", [n for n in ENTRIES if n not in ("checkpoints/best", "resume/.unfinished")])
def test_pipes_devices_and_folders_in_place_of_files_are_refused_at_once(name: str, make: object, run: Path) -> None:
    entry = run / name
    if make is Path.mkdir and (entry.is_dir() or name in NO_FILE_OF_A_RUN):
        return
    _remove(entry)
    if callable(make):
        make(entry)
    else:
        entry.symlink_to(entry.name)
    before = digests(run)
    endings = [type_train(run, "decisions=160"), type_eval(f"run={run}")]
    assert all(map(_is_one_sentence, endings)), endings
    assert digests(run) == before


@pytest.mark.parametrize("place", ["resume/000000080", "resume/.unfinished", "checkpoints/last"])
def test_a_folder_in_place_of_weights_is_refused_at_once(place: str, run: Path) -> None:
    entry = next((run / place).glob("*.safetensors"), run / place / "0123456789abcdef.safetensors")
    _remove(entry)
    entry.mkdir(parents=True)
    before = digests(run)
    assert f"{entry} is a folder where a checkpoint has a file; remove it" in str(type_train(run, "decisions=160"))
    assert digests(run) == before


@pytest.mark.parametrize("name", ["config.yaml", "thesis.txt", "train.log", "resume/2024/photo.jpg", "checkpoints/a"])
def test_the_folder_of_something_else_stays_as_it_was(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    (folder / "resume" / "000000120").mkdir(parents=True)
    (folder / "resume" / "000000120" / "thesis.txt").write_text("mine")
    before = digests(folder)
    ending = type_train(folder)
    assert _is_one_sentence(ending)
    assert "is not the folder of a run; name a new folder, or leave hydra.run.dir out" in str(ending)
    assert digests(folder) == before
    assert not (folder / ".lock").exists()


def test_files_of_the_user_beside_checkpoints_stay(run: Path) -> None:
    (run / "resume" / "2024").mkdir()
    (run / "resume" / "2024" / "thesis.txt").write_text("mine")
    (run / "resume" / "000000080" / "notes.txt").write_text("mine")
    (run / "resume" / "000000160").mkdir()
    (run / "resume" / "000000160" / "draft.partial").write_text("mine")
    assert type_train(run, "decisions=240", "eval_every=40", "keep_checkpoints=1") is None
    for name in ("2024/thesis.txt", "000000080/notes.txt", "000000160/draft.partial"):
        assert (run / "resume" / name).read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, run: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:-2]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    for path in (run, *run.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = digests(run)
    with as_somebody_else():
        endings = [type_train(run, "decisions=160"), type_eval(f"run={run}")]
    assert all(map(_is_one_sentence, endings)), endings
    assert "cannot be written (Permission denied); name a folder of yours as hydra.run.dir" in str(endings[0])
    assert "type out=<a folder of yours>" in str(endings[1])
    assert digests(run) == before
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o777)
    mine.chmod(0o777)
    with as_somebody_else():
        assert type_eval(f"run={run}", f"out={mine}") is None
    assert (mine / "eval.json").is_file()
