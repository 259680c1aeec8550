"""What wandb shows of a run: which one it is, its config, its final numbers, and videos of what it learnt."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import wandb
from toys.commands import SHORT_PENDULUM
from toys.in_process import start
from toys.requests import request_of
from toys.runs import toy_parts
from toys.wandb_files import config_of, history, run_of, summary_of

from dsrl.logging import Description
from dsrl.logging.wandb import WandbLogger
from dsrl.run.config.description import described_evaluation, saved_choices
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.train import steer

OFFLINE = ("logging=wandb", "logging.wandb.mode=offline")


@pytest.mark.parametrize(
    "notes",
    [
        None,
        "{}",
        "hydra: 3",
        "hydra: {runtime: {choices: [task]}}",
        "hydra: {runtime: {choices: {task: 3, sac: 'a b'}}}",
    ],
)
def test_without_readable_choices_an_evaluation_is_tagged_by_what_it_builds(notes: str | None, tmp_path: Path) -> None:
    if notes is not None:
        (tmp_path / "hydra.yaml").write_text(notes)
    chosen = saved_choices(tmp_path / "hydra.yaml")
    assert chosen == {}
    targets = {"task": "dsrl.task.gym.GymTask", "policy": "dsrl.policy.pi0.Pi0", "sac": "dsrl.sac.lp_ds.build"}
    config = {group: {"_target_": target} for group, target in targets.items()}
    request = request_of(tmp_path)
    described = described_evaluation(config, chosen, request, asdict(request))
    assert described.tags == ("gym", "pi0", "lp_ds")


def test_notes_that_hydra_did_not_write_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "hydra.yaml").write_text("? [a]\n: b")
    with pytest.raises(ValueError, match=r"hydra\.yaml is damaged \(line 1: found unhashable key\); restore it"):
        saved_choices(tmp_path / "hydra.yaml")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two runs, the first of which is evaluated."""
    folder = tmp_path_factory.mktemp("wandb")
    small = ("plot=false", "eval_episodes=2")
    words = ("-m", *SHORT_PENDULUM, *small, *OFFLINE, "sac.alpha=0.1,0.2", "seed=3", "hydra.sweep.dir=mine")
    assert start("train.py", *words, cwd=folder) is None
    for _ in range(2):
        assert start("eval.py", "run=mine/0", "eval_episodes=3", *OFFLINE, cwd=folder) is None
    wandb.teardown()  # its service has then written all
    return folder / "mine"


def _file(folder: Path) -> Path:
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return path


def test_runs_of_a_sweep_are_told_apart_and_grouped(sweep: Path) -> None:
    runs = [run_of(_file(sweep / number)) for number in "01"]
    shown = "pendulum dsrl_sac num_envs=2 task.max_steps=10 decisions=120 warmup_decisions=40"
    shown += " batch_size=16 sac.alpha={} seed=3"
    assert [run.display_name for run in runs] == [shown.format(alpha) for alpha in (0.1, 0.2)]
    assert {run.run_group for run in runs} == {"mine"}
    assert list(runs[0].tags) == ["pendulum", "identity", "dsrl_sac"]
    assert runs[0].job_type == "train"


def test_the_config_of_a_run_is_resolved(sweep: Path) -> None:
    config = config_of(_file(sweep / "1"))
    assert config["seed"] == 3
    assert config["sac"]["alpha"] == 0.2
    assert config["sac"]["gamma"] == config["gamma"] == 0.99
    assert "${" not in json.dumps(config)


def test_an_evaluation_is_a_run_of_its_own_and_overwrites_no_other(sweep: Path) -> None:
    first, second = sorted((sweep / "0" / "eval").iterdir())
    written = json.loads((first / "eval.json").read_text())
    assert written == json.loads((second / "eval.json").read_text())
    run, config = run_of(_file(first)), config_of(_file(first))
    assert run.job_type == "eval"
    assert run.run_id != run_of(_file(second)).run_id
    assert run.display_name == "eval best mine/0 eval_episodes=3 test_seed=1000000"
    assert list(run.tags) == ["pendulum", "identity", "dsrl_sac"]  # the choices of groups, as of the run itself
    assert config["evaluation"]["eval_episodes"] == 3
    assert config["sac"]["alpha"] == 0.1
    assert summary_of(_file(first))["steered/mean_return"] == written["result"]["mean_return"]
    assert next(history(_file(first)))["eval/steered/mean_return"] == written["result"]["mean_return"]


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_the_mode_of_the_environment_is_taken_without_a_look_at_the_server(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    options = {"project": "toy", "entity": None, "group": None, "name": None, "timeout": 60.0}
    logger = WandbLogger(str(tmp_path), mode="online", **options)  # type: ignore[arg-type]
    logger.close()
    wandb.teardown()
    assert "out of reach" not in capsys.readouterr().out
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == (mode == "offline")


def test_the_summary_has_both_policies_with_intervals_and_every_new_best_has_a_video(tmp_path: Path) -> None:
    described = Description({"seed": 0}, "toy", None, ("guess",), "train")
    options = {"project": "toy", "entity": None, "group": "given", "name": None, "timeout": 60.0}
    logger = WandbLogger(str(tmp_path), mode="offline", described=described, **options)  # type: ignore[arg-type]
    steer(toy_parts(), RunFolder(tmp_path), {"wandb": logger}, Screen())
    wandb.teardown()  # its service has then written all
    numbers, summary = summary_of(_file(tmp_path)), json.loads((tmp_path / "summary.json").read_text())
    for name in ("base", "steered"):
        low, high = summary[name]["ci95"]
        found = [numbers[f"{name}/{key}"] for key in ("success_rate", "ci95_low", "ci95_high")]
        assert found == [summary[name]["success_rate"], low, high]
    assert numbers["returned"] == summary["returned"] == "steered"
    assert numbers["paired/p_value"] == summary["paired"]["p_value"]
    assert run_of(_file(tmp_path)).run_group == "given"
    points = list(history(_file(tmp_path)))
    shown = [key for point in points for key in ("best", "base_vs_steered") if f"{key}._type" in point]
    videos = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert len(videos) >= 2
    assert shown == ["best"] * len(videos) + ["base_vs_steered"]
    assert "best_80.mp4" in videos
