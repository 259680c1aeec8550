"""noise=auto in real runs: the choice enters the run's config, and a continued run keeps it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console
from toys.complaints import composed
from toys.requests import newest_evaluation
from toys.typed import type_eval, type_train

from dsrl.run.components import auto_noise
from dsrl.run.components.auto_noise import candidates, read_choice
from dsrl.run.components.build import build
from dsrl.run.saved.files import LARGEST_SUMMARY
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.signals import Signals
from scripts.collect_rollouts import collect

SHORT_HOPPER = (
    "task=hopper",
    "task.max_steps=16",
    "noise=auto",
    "num_envs=2",
    "decisions=40",
    "warmup_decisions=20",
    "batch_size=8",
    "critic_warmup_updates=2",
    "eval_every=20",
    "eval_episodes=4",
    "confirm_episodes=0",
    "validation_episodes=8",
)


def _summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


@pytest.fixture(scope="module")
def hopper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run on Hopper that has measured its noise."""
    folder = tmp_path_factory.mktemp("hopper") / "run"
    assert type_train(folder, start=SHORT_HOPPER) is None
    return folder


def test_the_measured_choice_is_the_noise_of_the_run(hopper: Path) -> None:
    choice = _summary(hopper)["noise_choice"]
    kind = choice["chosen"].removeprefix("noise=").split()[0]
    base = choice["measured"]["base policy"]
    assert base["draws"] >= 2
    assert base["episodes"] == 8 * base["draws"]
    for config in (hopper / "checkpoints" / "config.yaml", hopper / ".hydra" / "config.yaml"):
        assert OmegaConf.load(config).noise._target_.startswith(f"dsrl.noise.{kind}.")
    log = (hopper / "train.log").read_text()
    assert log.count("building the simulation …") == log.count("simulation ready") == 1
    assert type_eval(f"run={hopper}") is None
    assert newest_evaluation(hopper)["result"] == _summary(hopper)["steered"]


def test_a_continued_run_keeps_its_noise_without_measuring(
    hopper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_train(tmp_path / "other", f"resume={hopper}", "decisions=60", start=SHORT_HOPPER) is None
    shown = capsys.readouterr().out
    assert f"noise=auto keeps the noise of the earlier run in {hopper}, nothing is measured" in shown
    assert "noise=auto chose" not in shown
    assert _summary(tmp_path / "other")["noise_choice"] == _summary(hopper)["noise_choice"]
    before = OmegaConf.load(hopper / "checkpoints" / "config.yaml").noise
    assert OmegaConf.load(tmp_path / "other" / "checkpoints" / "config.yaml").noise == before


def test_the_same_command_again_finds_the_finished_run(hopper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert type_train(hopper, start=SHORT_HOPPER) is None
    assert "finished before" in capsys.readouterr().out


def test_ctrl_c_before_training_promises_no_checkpoint_and_says_that_the_command_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = auto_noise.build_simulation

    def interrupted(*arguments: Any) -> float:
        signal.raise_signal(signal.SIGINT)
        return build(*arguments)

    monkeypatch.setattr(auto_noise, "build_simulation", interrupted)
    assert type_train(tmp_path / "run", start=SHORT_HOPPER) == 128 + signal.SIGINT
    said = capsys.readouterr()
    assert said.err == "\nstopping as soon as possible; press Ctrl-C again to stop at once\n"
    sentence = f"stopped by SIGINT; the same command with hydra.run.dir={tmp_path / 'run'} begins again"
    assert sentence in " ".join(said.out.split())
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_task_that_fails_while_the_noise_is_measured_is_one_sentence_with_the_traceback_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def failing(*arguments: Any) -> float:
        raise RuntimeError("motor 3 overheated")

    monkeypatch.setattr(auto_noise, "build_simulation", failing)
    assert type_train(run, start=SHORT_HOPPER) == (
        f"error: RuntimeError: motor 3 overheated (where: {run / 'failure.txt'}); "
        f"the same command with hydra.run.dir={run} tries again"
    )
    first, *rest = (run / "failure.txt").read_text(encoding="utf-8").splitlines()
    assert first == "RuntimeError: motor 3 overheated"
    assert any("in failing" in line for line in rest)


def test_another_magnitude_is_refused_at_resume(hopper: Path, tmp_path: Path) -> None:
    ending = type_train(tmp_path / "other", f"resume={hopper}", "noise.magnitude=2.0", start=SHORT_HOPPER)
    assert "noise.magnitude=2.0 but the checkpoint" in str(ending)


@pytest.mark.parametrize("typed", ["noise.largest_loss=0.5", "noise.draws_per_world=2"])
def test_an_option_of_the_measurement_is_refused_where_the_choice_is_kept(
    typed: str, hopper: Path, tmp_path: Path
) -> None:
    sentence = f"error: {typed} is not used, because noise=auto keeps the noise of the earlier run in {hopper};"
    for folder, more in ((tmp_path / "other", (f"resume={hopper}",)), (hopper, ())):
        assert str(type_train(folder, typed, "decisions=60", *more, start=SHORT_HOPPER)).startswith(sentence)


def test_the_same_command_with_an_option_of_the_measurement_continues(tmp_path: Path) -> None:
    typed = ("noise=auto", "noise.largest_loss=0.5")
    assert type_train(tmp_path / "run", *typed) is None
    assert type_train(tmp_path / "run", *typed, "decisions=160") is None
    assert type_train(tmp_path / "run", *typed, "decisions=160") is None


def test_noise_of_recorded_actions_is_found_in_the_chosen_parametrisation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(build(composed(*SHORT_HOPPER), print), tmp_path / "data", 1, seed=1)
    typed = (f"offline_data={tmp_path / 'data'}", "noise.largest_loss=1.0", "sac=dsrl_sac")
    assert type_train(tmp_path / "run", *typed, start=SHORT_HOPPER) is None
    shown = capsys.readouterr().out
    assert shown.index("noise=auto chose") < shown.index("noise was found whose actions differ by")
    assert shown.count("noise was found whose actions differ by") == 1
    summary = _summary(tmp_path / "run")
    assert summary["noise_choice"]["chosen"] == "noise=repeat"  # a few numbers of those of noise=full
    assert summary["gradient_steps"] > 0


def test_a_base_policy_with_a_single_noise_is_measured_for_its_doubt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = composed(*SHORT_HOPPER)
    parts = build(cfg, print)
    monkeypatch.setattr(auto_noise, "candidates", lambda *_: dict(list(candidates(cfg, parts).items())[:1]))
    choice = auto_noise.with_chosen_noise(cfg, parts, [], Screen(Console()), Signals())[2]
    assert choice is not None
    assert list(choice["measured"]) == ["base policy"]
    said = " ".join(capsys.readouterr().out.split())
    assert "the base policy on 8 worlds, under its own noise, 16 episodes at most …" in said


def test_a_policy_of_one_slot_has_nothing_to_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert type_train(tmp_path / "run", "noise=auto", "noise.magnitude=1.0") is None
    assert "noise=auto chose noise=repeat (1 number)" in capsys.readouterr().out
    assert _summary(tmp_path / "run")["noise_choice"] == {
        "chosen": "noise=repeat",
        "numbers": 1,
        "measured": {},
        "doubt": None,
    }


def test_a_choice_that_somebody_changed_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / ".hydra" / "noise.json"
    file.parent.mkdir()
    sound = {"chosen": "noise=full", "numbers": 4, "measured": {"a": {"success_rate": 0.5, "ci95": [0.1, 0.9]}}}
    file.write_text(json.dumps(sound))
    assert read_choice(RunFolder(tmp_path)) == sound
    deep = "[" * 900 + "]" * 900
    changed = ('"numbers": NaN', '"numbers": "4"', f'"measured": {deep}', '"doubt": 1', '"more": 1')
    for text in (*(f"{{{one}}}" for one in changed), deep, "[" * 10**6, "{", "[]", " " * (LARGEST_SUMMARY + 1)):
        file.write_text(text)
        assert read_choice(RunFolder(tmp_path)) is None
    file.unlink()
    os.mkfifo(file)
    assert read_choice(RunFolder(tmp_path)) is None


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("offline_data=nowhere",), "offline_data=nowhere"),
        (("decisions=1000000000", "buffer_size=1000000000"), "GiB"),
    ],
)
def test_what_cannot_work_is_refused_before_the_measurement(
    typed: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in str(type_train(tmp_path / "run", *typed, start=SHORT_HOPPER))
    assert "noise=auto" not in capsys.readouterr().out
