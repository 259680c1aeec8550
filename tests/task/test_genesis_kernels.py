"""The line that announces a build of Genesis is true: it reads which kernels the scene used, and which are there."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

import pytest

from dsrl.task._kernels import are_compiled, kernel_folder, processor, report, scene_name, watched


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let Genesis' cache be an empty folder."""
    monkeypatch.setenv("QD_OFFLINE_CACHE_FILE_PATH", str(tmp_path))
    for name in ("python_side_cache", "kernel_compilation_manager"):
        (tmp_path / name).mkdir()
    return tmp_path


def compile_kernel(folder: Path, name: str) -> None:
    """Write the three files that Quadrants writes for one kernel."""
    (folder / "python_side_cache" / f"{name}1.cache.txt").write_text(json.dumps({"used_py_dataclass_parameters": []}))
    (folder / "python_side_cache" / f"{name}2.cache.txt").write_text(json.dumps({"frontend_cache_key": f"T{name}"}))
    (folder / "kernel_compilation_manager" / f"T{name}.qdc").write_bytes(b"code")


def test_a_scene_is_compiled_once_a_build_of_it_has_ended(folder: Path) -> None:
    scene = scene_name("Pick", "hand")
    assert not are_compiled(scene)
    with watched(scene, print):
        compile_kernel(folder, "a")
    assert are_compiled(scene)
    assert not are_compiled(scene_name("Pick", "joint"))


@pytest.mark.parametrize("lost", ["python_side_cache/a2.cache.txt", "kernel_compilation_manager/Ta.qdc"])
def test_a_scene_that_lost_one_file_is_not_compiled(folder: Path, lost: str) -> None:
    with watched(scene_name("Pick"), print):
        compile_kernel(folder, "a")
        compile_kernel(folder, "b")
    (folder / lost).unlink()
    assert not are_compiled(scene_name("Pick"))


def test_kernels_of_another_processor_do_not_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(scene_name("Pick"), print):
        compile_kernel(folder, "a")
    monkeypatch.setattr("dsrl.task._kernels.processor", lambda: "another one")
    assert not are_compiled(scene_name("Pick"))


def test_processors_differ_by_model_and_by_instructions(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    names = set()
    for model, flags in (("AMD EPYC", "fma avx2"), ("AMD EPYC", "fma avx512f"), ("Xeon", "fma avx2")):
        for cores in (1, 2):
            core = f"model name\t: {model}\ncpu MHz\t\t: {2000 + cores}\nflags\t\t: {flags}\n\n"
            told.write_text(core * cores)
            names.add(processor(told))
    assert len(names) == 3
    assert processor(tmp_path / "absent") == platform.machine()


def test_kernels_of_other_scenes_do_not_count(folder: Path) -> None:
    compile_kernel(folder, "old")
    for entry in (folder / "python_side_cache").iterdir():
        os.utime(entry, (0, 0))
    with watched(scene_name("Pick"), print):
        compile_kernel(folder, "a")
    (folder / "kernel_compilation_manager" / "Told.qdc").unlink()
    assert are_compiled(scene_name("Pick"))


def test_a_build_that_fails_leaves_no_list(folder: Path) -> None:
    with pytest.raises(FileNotFoundError), watched(scene_name("Pick"), print):
        compile_kernel(folder / "missing", "a")
    assert not are_compiled(scene_name("Pick"))


def test_progress_counts_the_kernels_of_this_build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    waits = iter([False, True])
    for name in "abcdefghijklm":  # 26 of 51 files
        compile_kernel(folder, name)
    begin = time.time()
    monkeypatch.setattr("time.time", lambda: begin - 3600)  # the clock is set back
    report(begin, lambda _: next(waits), lines.append)
    assert lines == ["compiled 51% of the kernels after 0 s"]


def test_the_folder_is_the_one_that_quadrants_uses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel_folder() == folder
    monkeypatch.delenv("QD_OFFLINE_CACHE_FILE_PATH")
    assert kernel_folder() == Path.home() / ".cache" / "quadrants" / "qdcache"
