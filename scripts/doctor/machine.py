"""Checks of the machine: rendering, GPU, kernel cache, memory, disk and write access."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dsrl.available_memory import available_memory
from dsrl.run.terminal.installed import typed
from scripts.doctor.findings import Check, Finding

OUTPUTS = Path("outputs")  # where Hydra makes run folders
GIB = 2**30
MEMORY_NEEDED, DISK_NEEDED, DISK_ADVISED = 2 * GIB, GIB // 4, 2 * GIB  # the main job peaks at 1.6 GiB
RENDER_SECONDS = 60
GL_PACKAGES = "type: sudo apt-get install libegl1 libgl1-mesa-dri libxrender1"


def rendering() -> Finding:
    """Render a frame without a display, in a process of its own, which a driver may crash."""
    if sys.platform != "linux":
        return Finding("note", f"is not checked on {sys.platform}", f"type: {typed('train.py')} experiment=smoke")
    command = [sys.executable, "-P", str(Path(__file__).with_name("render.py"))]  # -P: modules beside it hide none
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RENDER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding("FAIL", f"no frame within {RENDER_SECONDS} s", GL_PACKAGES)
    if done.returncode == 0:
        return Finding("ok", f"a frame was rendered by {done.stdout.strip()}")
    lines = done.stderr.strip().splitlines() or [f"the process ended with code {done.returncode}"]
    return Finding("FAIL", f"no frame can be rendered ({lines[-1][:160]})", GL_PACKAGES)


def gpu() -> Finding:
    """Return the GPU that torch can use; the main job runs on the CPU without one."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        count = torch.cuda.device_count()
        return Finding("ok", f"{count} × {properties.name}, {properties.total_memory / GIB:.0f} GiB each")
    if shutil.which("nvidia-smi") is None:
        return Finding("ok", f"none; the main job runs on the CPU ({os.cpu_count()} cores)")
    reason = "its torch is built without CUDA" if torch.version.cuda is None else "its driver does not fit torch's CUDA"
    return Finding("note", f"there is a GPU that torch cannot use: {reason}", "type: nvidia-smi")


def kernel_cache() -> Finding:
    """Return whether Genesis has compiled its kernels on this machine, and where they are."""
    folder = Path(os.environ.get("QD_OFFLINE_CACHE_FILE_PATH") or Path.home() / ".cache" / "quadrants")
    files = [path for path in folder.rglob("*.*") if path.is_file()] if folder.is_dir() else []
    if files:
        size = sum(path.stat().st_size for path in files)
        return Finding("ok", f"{len(files)} files of compiled Genesis kernels, {size / 1e6:.1f} MB in {folder}")
    above = _existing(folder)
    if not os.access(above, os.W_OK):
        remedy = "type: export QD_OFFLINE_CACHE_FILE_PATH=<a folder that you can write>"
        return Finding("note", f"{above} is not writable, so that every run compiles kernels for minutes", remedy)
    return Finding("note", f"no compiled Genesis kernels in {folder}: the first run takes minutes longer")


def memory() -> Finding:
    """Return the memory that is free, within the limit of the container."""
    if not Path("/proc/meminfo").is_file():
        return Finding("note", "free memory cannot be read on this system; the main job needs 2 GiB")
    free = available_memory()
    if free >= MEMORY_NEEDED:
        return Finding("ok", f"{free / GIB:.1f} GiB free")
    return Finding("FAIL", f"{free / GIB:.1f} GiB free, the main job needs 2", "end other programs, or type num_envs=4")


def disk() -> Finding:
    """Return the free space of the disk of outputs/."""
    folder = _existing(OUTPUTS.absolute())
    free = shutil.disk_usage(folder).free
    text, remedy = f"{free / GIB:.1f} GiB free below {folder}", "make room, or type: hydra.run.dir=<another disk>"
    if free < DISK_NEEDED:
        return Finding("FAIL", text, remedy)
    return Finding("ok", text) if free >= DISK_ADVISED else Finding("note", f"{text}, 2 GiB are advised", remedy)


def outputs() -> Finding:
    """Return whether a file can be written into outputs/."""
    folder = _existing(OUTPUTS.absolute())
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"dsrl")
    except OSError as error:
        remedy = f"type: chmod u+w {shlex.quote(str(folder))}, or work in another folder"
        return Finding("FAIL", f"{folder} cannot be written ({error.strerror})", remedy)
    return Finding("ok", f"{OUTPUTS.absolute()} can be written")


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return path if path.exists() else next(parent for parent in path.parents if parent.exists())


CHECKS = [
    Check("rendering", rendering),
    Check("GPU", gpu, needed=False),
    Check("kernel cache", kernel_cache, needed=False),
    Check("memory", memory),
    Check("disk", disk),
    Check("outputs", outputs),
]
