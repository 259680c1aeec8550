"""The wheel and a package of one's own, installed into a new environment that sees the libraries of this one."""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from toys.commands import ROOT
from toys.typed import type_eval, type_train

from scripts.doctor.machine import rendering

TEMPLATE = ROOT / "docs" / "template"
SOURCES = ("dsrl", "conf", "scripts", "hydra_plugins", "setup.py", "pyproject.toml", "README.md", "LICENSE")
TINY_DOCK = ("num_envs=2", "decisions=80", "warmup_decisions=40", "batch_size=16", "eval_every=40", "eval_episodes=5")
TINY_DOCK += ("validation_episodes=2", "confirm_episodes=0", "plot=false")


def _built(source: Path, names: tuple[str, ...], folder: Path) -> Path:
    """Build the wheel of a copy of `source`, whose folder would get build files."""
    for name in names:
        path = source / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, folder / name)  # type: ignore[operator]
    code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (folder / "dist").iterdir()
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the commands of the new environment."""
    uv = shutil.which("uv")
    assert uv, "uv installs the wheels; pip install uv"
    wheels = [
        _built(ROOT, SOURCES, tmp_path_factory.mktemp("clone")),
        _built(TEMPLATE, tuple(path.name for path in TEMPLATE.iterdir()), tmp_path_factory.mktemp("template")),
    ]
    new = tmp_path_factory.mktemp("new") / "venv"
    subprocess.run([uv, "venv", "--quiet", "--offline", "--python", sys.executable, new], check=True)
    command = [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", new / "bin" / "python"]
    subprocess.run([*command, *wheels], check=True)
    (packages,) = (new / "lib").glob("python*/site-packages")
    shared = [sysconfig.get_paths()["purelib"], *site.getsitepackages()]
    (packages / "shared.pth").write_text("\n".join(dict.fromkeys(shared)) + "\n")
    return new / "bin"


def _type(bin_folder: Path, folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(bin_folder / name), *arguments],
        cwd=folder,
        env={**environment, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_the_wheel_brings_its_own_code_and_no_package_with_a_common_name(installed: Path, tmp_path: Path) -> None:
    code = "import dsrl, hydra_plugins.dsrl_launcher as launcher; print(dsrl.__file__, launcher.__file__)"
    done = _type(installed, tmp_path, "python", "-c", code)
    assert all(Path(path).is_relative_to(installed.parent) for path in done.stdout.split()), done.stdout + done.stderr
    (packages,) = (installed.parent / "lib").glob("python*/site-packages")
    ours = {path.name for path in packages.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")}
    assert ours == {"dsrl", "hydra_plugins", "my_robot"}


def test_the_doctor_of_the_wheel_renders_as_that_of_the_clone_does(installed: Path, tmp_path: Path) -> None:
    code = "import dsrl.scripts; from scripts.doctor.machine import rendering; print(rendering().text)"
    done = _type(installed, tmp_path, "python", "-c", code)
    assert done.stdout.strip() == rendering().text, done.stderr


@pytest.mark.parametrize("name", ["dsrl-compare", "dsrl-preflight", "dsrl-doctor", "dsrl-train", "dsrl-eval"])
def test_every_command_has_a_help_page(name: str, installed: Path, tmp_path: Path) -> None:
    done = _type(installed, tmp_path, name, "--help")
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert not re.search(r"python |(train|eval)\.py|-m scripts\.", done.stdout), done.stdout


def test_an_error_of_the_wheel_names_commands_that_it_has(installed: Path, tmp_path: Path) -> None:
    done = _type(installed, tmp_path, "dsrl-train", "task=pendulum", "checkpoint=last")
    assert done.stderr == (
        "error: checkpoint is an option of dsrl-eval, which evaluates a run; dsrl-eval --help lists all of them\n"
    )
    done = _type(installed, tmp_path, "python", "-m", "dsrl.scripts.pretrain", "--help")
    assert done.returncode == 0, done.stderr
    assert "python -m dsrl.scripts.pretrain --policy" in done.stdout
    assert "-m scripts." not in done.stdout


def test_the_wheel_trains_and_evaluates_a_package_of_ones_own_from_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    where = "hydra.searchpath=[pkg://my_robot.conf]"
    done = _type(
        installed, tmp_path, "dsrl-train", where, "plugins=[my_robot]", "task=dock", *TINY_DOCK, "hydra.run.dir=run"
    )
    assert done.returncode == 0, done.stderr
    again = f"dsrl-eval run={tmp_path / 'run'} 'plugins=[my_robot]'"
    assert f"evaluate again: {again}" in done.stdout
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["git_commit"] is None
    refused = _type(installed, tmp_path, "dsrl-eval", "run=run")
    assert refused.returncode == 1
    assert refused.stderr == (
        "error: run=run was made with plugins=[my_robot], whose code would run; "
        "if you trust it, type plugins=[my_robot]\n"
    )
    done = _type(installed, tmp_path, "dsrl-eval", "run=run", "plugins=[my_robot]")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    (written,) = (tmp_path / "run" / "eval").glob("*/eval.json")
    assert json.loads(written.read_text())["result"] == summary["steered"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TEMPLATE))


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ((), "a config may build dsrl.task.<module>.<name> only, or, with plugins=[my_package]"),
        (("plugins=my_robot",), "plugins=my_robot must be a list; type plugins=[my_robot]"),
        (("plugins=[nowhere]",), "nowhere is not installed"),
        (("plugins=['os.path']",), "must be names of packages"),
        (("plugins=[my_robot]", "task.radius=0"), "task.radius=0 must be above 0"),
        (
            ("plugins=[my_robot]", "+task.colour=red"),
            "task.colour is no option; my_robot.task.dock.Dock takes",
        ),
        (("plugins=[my_robot]", "task._target_=my_robot.task.dock.Tensor"), "defines no Tensor"),
        (("plugins=[my_robot]", "task._target_=my_robot.policy.drift.Drift"), "may build dsrl.task"),
    ],
)
def test_what_a_plugin_does_not_offer_is_one_sentence(typed: tuple[str, ...], words: str, tmp_path: Path) -> None:
    where = f"hydra.searchpath=[file://{TEMPLATE / 'my_robot' / 'conf'}]"
    ending = type_train(tmp_path / "run", where, "task=dock", *typed, start=())
    assert words in str(ending)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("template")
def test_plugins_in_a_file_are_refused_until_they_are_typed(tmp_path: Path) -> None:
    conf = tmp_path / "conf" / "experiment"
    conf.mkdir(parents=True)
    (conf / "sent.yaml").write_text("# @package _global_\nplugins: [my_robot]\n")
    where = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    ending = type_train(tmp_path / "run", where, "task=pendulum", "experiment=sent", start=())
    assert ending == "error: plugins=[my_robot] stands in a file; type it on the command line, or remove it there"


@pytest.mark.usefixtures("template")
def test_resume_needs_the_plugins_of_the_other_run_again(tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    assert type_train(folder, "plot=false") is None
    config = folder / "checkpoints" / "config.yaml"
    config.write_text(config.read_text().replace("plugins: []", "plugins: [my_robot]"))
    for ending in (type_train(tmp_path / "new", f"resume={folder}"), type_eval(f"run={folder}")):
        assert "was made with plugins=[my_robot], whose code would run; if you trust it" in str(ending)
