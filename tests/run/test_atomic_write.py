"""Files are complete or unchanged, whoever else writes them, and whatever a killed process left beside them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from dsrl.run.saved.files import atomic_write, completed_name


def test_two_that_write_one_file_at_once_leave_one_of_the_contents(tmp_path: Path) -> None:
    contents = [bytes([number]) * 1_000_000 for number in range(4)]
    failed: list[OSError] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(20):
                atomic_write(tmp_path / "eval.json", content)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "eval.json").exists():
            assert (tmp_path / "eval.json").read_bytes() in contents
    assert not failed
    assert [path.name for path in tmp_path.iterdir()] == ["eval.json"]


def test_a_partial_file_of_a_killed_process_never_blocks_and_is_removed_after_an_hour(tmp_path: Path) -> None:
    old, new, other = (f"{name}.0123abcd.partial" for name in ("eval.json", "eval.json.png", "summary.json"))
    names = [old, new, other, "eval.json.partial", "eval.json.89abcdef.partial"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / old, (0, time.time() - 3700))
    (tmp_path / "eval.json.00000000.partial").mkdir()
    atomic_write(tmp_path / "eval.json", b"whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"eval.json", "eval.json.00000000.partial", *names} - {old}
    assert (tmp_path / "eval.json").read_bytes() == b"whole"


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_link_is_replaced_and_not_written_through(link: str, tmp_path: Path) -> None:
    (tmp_path / "canary").write_bytes(b"mine")
    getattr(tmp_path / "eval.json", link)(tmp_path / "canary")
    atomic_write(tmp_path / "eval.json", b"whole")
    assert (tmp_path / "canary").read_bytes() == b"mine"
    assert (tmp_path / "eval.json").read_bytes() == b"whole"
    assert not (tmp_path / "eval.json").is_symlink()


def test_a_write_that_fails_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "eval.json").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        atomic_write(tmp_path / "eval.json", b"whole")
    assert raised.value.filename == str(tmp_path / "eval.json")
    assert [path.name for path in tmp_path.iterdir()] == ["eval.json"]


def test_the_complete_name_of_a_partial_file_is_known() -> None:
    assert completed_name("eval.json.0123abcd.partial") == "eval.json"
    assert completed_name("eval.json.partial") is None
    assert completed_name("eval.json") is None
