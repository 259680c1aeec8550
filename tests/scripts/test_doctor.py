"""The doctor's checks on this machine and on broken ones: state, text and remedy of every finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.doctor import machine, packages, services
from scripts.doctor.__main__ import main
from scripts.doctor.findings import Check, Finding, examine, print_all


def test_every_check_prints_one_line_and_a_failure_sets_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    *lines, blank, conclusion = capsys.readouterr().out.splitlines()
    assert len(lines) == len([*packages.CHECKS, *machine.CHECKS, *services.CHECKS])
    assert all(line.split()[0] in ("ok", "note", "FAIL") for line in lines)
    failed = any(line.startswith("FAIL") for line in lines)
    assert ended.value.code == int(failed)
    assert blank == ""
    assert conclusion.startswith("the main job cannot run" if failed else "the main job can run")


def test_a_failure_and_no_note_means_that_the_main_job_cannot_run(capsys: pytest.CaptureFixture[str]) -> None:
    well, note = Check("a", lambda: Finding("ok", "fine")), Check("b", lambda: Finding("note", "missing", "type: x"))
    assert print_all([well, note])
    assert not print_all([well, Check("c", lambda: Finding("FAIL", "broken"))])
    assert "note  b              missing; type: x\n" in capsys.readouterr().out


def test_an_exception_in_a_check_is_one_sentence() -> None:
    def broken() -> Finding:
        raise RuntimeError("no\nway")

    assert examine(Check("x", broken)) == Finding("FAIL", "the check ended with RuntimeError: no way")
    assert examine(Check("x", broken, needed=False)).state == "note"


def test_a_machine_without_a_gl_driver_names_the_debian_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/nowhere.json")
    found = machine.rendering()
    assert found.state == "FAIL"
    assert "no EGL device" in found.text
    assert found.remedy == "type: sudo apt-get install libegl1 libgl1-mesa-dri libxrender1"


def test_packages_are_compared_with_their_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.pins()["torch"] == "2.11.0"
    assert packages.package("torch").state == "ok"
    missing = packages.package("no-such-package-at-all")
    assert (missing.state, missing.text) == ("FAIL", "is not installed")
    assert "uv sync" in missing.remedy
    monkeypatch.setattr(packages, "pins", lambda: {"numpy": "0.1"})
    assert packages.package("numpy").text.endswith("is installed, 0.1 is tested")
    assert packages.other_packages().state == "note"


def test_a_pointer_file_in_the_place_of_the_weights_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    assert "is missing" in packages.policy().text
    folder = tmp_path / "dsrl" / "assets" / "simple_pick"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    assert packages.policy().state == "FAIL"
    assert "has only 42 bytes" in packages.policy().text


def test_the_kernel_cache_is_found_where_genesis_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QD_OFFLINE_CACHE_FILE_PATH", str(tmp_path))
    assert machine.kernel_cache().state == "note"
    (tmp_path / "kernel.qdc").write_bytes(bytes(2_000_000))
    assert machine.kernel_cache() == Finding("ok", f"1 files of compiled Genesis kernels, 2.0 MB in {tmp_path}")


def test_too_little_memory_or_disk_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.memory().state == machine.disk().state == "ok"
    for name in ("MEMORY_NEEDED", "DISK_NEEDED"):
        monkeypatch.setattr(machine, name, 2**60)
    assert machine.memory().state == machine.disk().state == "FAIL"


def test_a_folder_that_cannot_be_written_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert machine.outputs().state == "ok"
    monkeypatch.chdir("/proc")
    found = machine.outputs()
    assert (found.state, found.text.split(" (")[0]) == ("FAIL", "/proc cannot be written")


@pytest.mark.parametrize(
    ("commands", "state", "words"),
    [
        ({}, "note", "sbatch and sinfo are not installed"),
        ({"sbatch": "exit 0"}, "note", "sinfo is not installed"),
        ({"sbatch": "exit 0", "sinfo": "echo 'gpu*'; echo long"}, "ok", "partitions gpu*, long"),
        ({"sbatch": "exit 0", "sinfo": "echo no controller >&2; exit 1"}, "note", "sinfo fails (no controller)"),
    ],
)
def test_slurm_is_found_by_its_commands(
    commands: dict[str, str], state: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = services.slurm()
    assert (found.state, found.text) == (state, words)


def test_a_wandb_login_is_found_in_the_environment_or_in_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert services.wandb().state == "note"
    (tmp_path / "netrc").write_text("machine wandb.example.org\n  login user\n  password secret\n")
    found = services.wandb()
    assert found.state == "ok"
    assert "secret" not in found.text
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert services.wandb().text == "logged in by WANDB_API_KEY"


def test_no_wandb_login_is_needed_where_the_environment_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert services.wandb() == Finding("ok", "not needed with WANDB_MODE=offline")
