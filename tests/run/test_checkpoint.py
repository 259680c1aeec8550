"""Checkpoints are whole or absent, and a damaged one gives way to the one before."""

from __future__ import annotations

import errno
import io
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from dsrl.run.saved.checkpoint import (
    Checkpoints,
    DamagedError,
    MemoryShortError,
    WrongVersionError,
    read_checkpoint,
    write_checkpoint,
)
from dsrl.run.saved.files import LARGEST_SUMMARY
from dsrl.run.saved.state_json import flatten

STATE = {"weights": torch.arange(6.0), "half": torch.ones(2, dtype=torch.bfloat16), 3: [None, (1.5, "x")], "big": 2**99}


def store(folder: Path, *numbers: int, keep: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep)
    for number in numbers:
        checkpoints.save(number, {**STATE, "number": number})
    return checkpoints


def newest(checkpoints: Checkpoints) -> tuple[int | None, list[str]]:
    warnings: list[str] = []
    state = checkpoints.newest(warnings.append)
    return state and state["number"], warnings


def test_a_checkpoint_gives_back_what_it_was_given(tmp_path: Path) -> None:
    state = store(tmp_path, 5).newest(print)
    assert torch.equal(state["weights"], STATE["weights"])
    assert state["half"].dtype == torch.bfloat16
    assert (state[3], state["big"]) == (STATE[3], 2**99)


def test_tensors_that_share_memory_are_kept_apart(tmp_path: Path) -> None:
    whole = torch.arange(4.0)
    Checkpoints(tmp_path, 1).save(0, {"whole": whole, "again": whole, "part": whole[1:3]})
    state = Checkpoints(tmp_path, 1).newest(print)
    assert torch.equal(state["again"], whole)
    assert torch.equal(state["part"], whole[1:3])


def test_plain_values_are_written_as_they_are_and_come_back_with_their_types(tmp_path: Path) -> None:
    plain = {"curve": [[1, 2.5, {"seeds": [3, 4], "won": [True, None]}]], "pairs": [(1, 2)], "number": {1: "x"}}
    structure = flatten(plain, "", {})
    assert structure["dict"][0] == ["curve", {"value": plain["curve"]}]  # not wrapped number by number
    Checkpoints(tmp_path, 1).save(0, plain)
    assert Checkpoints(tmp_path, 1).newest(print) == plain


def test_the_newest_stay(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, 100, 200, 300)
    assert newest(checkpoints) == (300, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000200", "000000300"]


@pytest.mark.parametrize("file", ["*.safetensors", "[0-9a-f]*.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_with_one_warning_that_names_it(
    file: str, damage: str, tmp_path: Path
) -> None:
    checkpoints = store(tmp_path, 100, 200)
    (path,) = (tmp_path / "000000200").glob(file)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"flipped": content, "truncated": content[: len(content) // 2]}.get(damage, b""))
    if damage == "missing":
        path.unlink()
    number, warnings = newest(checkpoints)
    assert number == 100
    (warning,) = warnings
    assert str(tmp_path / "000000200") in warning
    assert "is damaged" in warning
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((100, 200), "none of the 2 checkpoints in {} is complete"),
        ((100,), "the only checkpoint in {} is not complete"),
    ],
)
def test_where_all_are_damaged_there_is_one_sentence_and_none_before_is_promised(
    numbers: tuple[int, ...], sentence: str, tmp_path: Path
) -> None:
    checkpoints, warnings = store(tmp_path, *numbers), []
    for path in tmp_path.glob("*/*.safetensors"):
        path.write_bytes(b"damaged")
    with pytest.raises(DamagedError) as raised:
        checkpoints.newest(warnings.append)
    assert str(raised.value) == f"{sentence.format(tmp_path)}; restore one"
    assert ["trying the checkpoint before it" in warning for warning in warnings] == [True, False][-len(numbers) :]


class Killed(BaseException):
    """Ends the process, as far as this test goes."""


def kill_at(nth: int, call: Any, calls: Iterator[int]) -> Any:
    """Return a call that raises Killed instead, when `calls` counts to `nth`."""

    def fatal(*paths: Any) -> None:
        if next(calls) == nth:
            raise Killed
        call(*paths)

    return fatal


@pytest.mark.parametrize(("before", "changes"), [((100,), 3), ((90,), 4), ((), 4)])
def test_checkpoints_are_whole_or_absent_whenever_the_process_is_killed(
    before: tuple[int, ...], changes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills, ended = 0, False
    while not ended:
        checkpoints, calls = store(tmp_path / str(kills), *before, keep=1), iter(range(99))
        with monkeypatch.context() as patch:
            for name in ("rename", "replace"):
                patch.setattr(os, name, kill_at(kills, getattr(os, name), calls))
            try:
                checkpoints.save(100, {"weights": torch.zeros(3), "number": 101})
                ended = True
            except Killed:
                kills += 1
        assert newest(checkpoints) == (101 if ended else next(iter(before), None), [])
    assert kills == changes  # tensors, structure, manifest; the name of a new one


def test_a_checkpoint_whose_removal_was_killed_has_lost_its_manifest_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = store(tmp_path, 100)
    monkeypatch.setattr(os, "unlink", kill_at(2, os.unlink, iter(range(99))))
    with pytest.raises(Killed):
        checkpoints.drop_after(-1)
    assert [path.name for path in (tmp_path / "000000100").iterdir()] == ["manifest.json"]


def test_without_any_whole_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert newest(store(tmp_path)) == (None, [])
    (tmp_path / "000000100").mkdir()
    assert newest(store(tmp_path)) == (None, [])  # a folder without manifest and weights is none of ours


def test_a_write_that_was_cut_short_is_neither_read_nor_in_the_way(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, 100)
    (tmp_path / ".unfinished").mkdir()
    for name in ("safetensors.partial", "manifest.json.0123abcd.partial", "0123456789abcdef.json.0123abcd.partial"):
        (tmp_path / ".unfinished" / name).write_bytes(b"half")
    assert newest(checkpoints) == (100, [])
    assert newest(store(tmp_path, 200)) == (200, [])
    assert not (tmp_path / ".unfinished").exists()


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Every longer file is refused, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 50_000])
def test_a_full_disk_leaves_the_checkpoint_before_whole(size: int, tmp_path: Path) -> None:
    checkpoints = store(tmp_path, 100)
    with no_file_above(size), pytest.raises(OSError, match=r"too large|could not be written"):
        checkpoints.save(200, {"weights": torch.zeros(100_000)})
    assert newest(checkpoints) == (100, [])
    assert [path.name for path in tmp_path.iterdir()] == ["000000100"]


def test_json_is_no_longer_than_its_kind_needs(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, STATE)
    with pytest.raises(ValueError, match=r"larger than the 0 MiB .*; use another checkpoint"):
        read_checkpoint(tmp_path, largest=10)
    with (tmp_path / "manifest.json").open("a") as file:
        file.write(" " * LARGEST_SUMMARY)
    with pytest.raises(ValueError, match=r"larger than the 4 MiB .*; use another checkpoint"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(("file", "words"), [("*.safetensors", "MiB but"), ("[0-9a-f]*.json", "than the 256 MiB")])
def test_a_sparse_file_of_terabytes_is_refused_before_its_digest(file: str, words: str, tmp_path: Path) -> None:
    checkpoints = store(tmp_path, 100, 200)
    (path,) = (tmp_path / "000000200").glob(file)
    os.truncate(path, 2**42)
    with pytest.raises(ValueError, match=words):
        read_checkpoint(tmp_path / "000000200")
    if path.suffix == ".safetensors":  # they may be whole: the checkpoint before does not replace them
        with pytest.raises(MemoryShortError):
            checkpoints.newest(pytest.fail)


@pytest.mark.parametrize(
    ("number", "file"),
    [(errno.EACCES, "manifest.json"), (errno.EMFILE, "manifest.json"), (errno.EIO, "*.safetensors")],
)
def test_a_checkpoint_that_cannot_be_read_for_the_moment_is_not_damaged(
    number: int, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before would replace it, and training from there would remove it."""
    checkpoints = store(tmp_path, 100, 200)
    (refused,) = (tmp_path / "000000200").glob(file)
    open_file = io.open

    def open_others(path: Any, *options: Any, **named: Any) -> Any:
        if Path(path) == refused:
            raise OSError(number, os.strerror(number), str(path))
        return open_file(path, *options, **named)

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", open_others)  # of pathlib
        with pytest.raises(OSError, match=os.strerror(number)):
            checkpoints.newest(pytest.fail)
    assert newest(checkpoints) == (200, [])


def test_entries_of_others_are_never_removed(tmp_path: Path) -> None:
    for name in ("2024", "000000900", "000000100"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine")
    (tmp_path / "linked").mkdir()
    (tmp_path / "000000950").symlink_to(tmp_path / "linked", target_is_directory=True)
    checkpoints = store(tmp_path, 200, 300, 400)
    checkpoints.drop_after(-1)
    assert newest(checkpoints) == (None, [])
    assert sorted(path.parent.name for path in tmp_path.glob("*/thesis.txt")) == ["000000100", "000000900", "2024"]
    assert (tmp_path / "000000950").is_symlink()
    with pytest.raises(OSError, match="in the way"):
        checkpoints.save(900, STATE)
    assert (tmp_path / "000000900" / "thesis.txt").read_text() == "mine"


def test_a_checkpoint_of_another_format_is_refused_with_one_sentence(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, 100)
    (tmp_path / "000000100" / "manifest.json").write_text('{"tensors.safetensors": "0", "structure.json": "1"}')
    with pytest.raises(WrongVersionError, match=r"has format 1, from which training cannot continue here"):
        newest(checkpoints)
    (tmp_path / "000000100" / "manifest.json").write_text('{"version": 2, "files": {}}')
    with pytest.raises(WrongVersionError, match=r"has format 2, from which training cannot continue here"):
        newest(checkpoints)
    (tmp_path / "000000100" / "manifest.json").write_text('{"version": 99, "files": {}}')
    with pytest.raises(WrongVersionError, match="has format 99, which this version of dsrl cannot read"):
        newest(checkpoints)
