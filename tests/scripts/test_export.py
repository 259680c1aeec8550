"""A steered policy leaves the run folder: as a lerobot policy it chooses the actions that eval.py plays."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from toys.commands import CONF, ROOT
from toys.mlp_checkpoints import make_config
from toys.requests import newest_evaluation
from toys.typed import type_eval, type_train

from dsrl.evaluation.noise_sources import steered_noise
from dsrl.interfaces import Observation
from dsrl.policy._mlp_checkpoint import save_checkpoint
from dsrl.run.components.build import build
from dsrl.run.saved.files import write_json
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.errors import UserError
from dsrl.run.terminal.installed import typed_option
from scripts._options import Parser
from scripts.export.__main__ import _keys, _listed
from scripts.export.__main__ import main as export
from scripts.export.folder import _base_folder
from scripts.export.hub import push
from scripts.export.lerobot_eval import command

NO_NAME = "is no name of a repository; type OWNER/NAME, such as me/my_policy"
STATES = "obs_type=environment_state_agent_pos"

sys.path.append(str(ROOT / "plugins" / "lerobot_policy_dsrl"))


def _lerobot_policy(folder: Path, **changes: Any) -> Any:
    """Load an exported folder in the way of lerobot-eval: by its config's type."""
    import lerobot_policy_dsrl  # noqa: F401  registers the type, as lerobot does by the distribution's name
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class

    config = PreTrainedConfig.from_pretrained(folder)
    for name, value in changes.items():
        setattr(config, name, value)
    return get_policy_class(config.type).from_pretrained(folder, config=config)


def _processors(folder: Path, policy: Any) -> tuple[Any, Any]:
    from lerobot.policies.factory import make_pre_post_processors

    overrides = {"device_processor": {"device": "cpu"}, "rename_observations_processor": {"rename_map": {}}}
    return make_pre_post_processors(policy.config, str(folder), preprocessor_overrides=overrides)  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=["flow_mlp", "diffusion_mlp"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on pendulum under a random policy."""
    folder = tmp_path_factory.mktemp(request.param)
    config = replace(
        make_config(request.param),
        state_mean=(0.0, 0.0, 0.0),
        state_std=(1.0, 1.0, 4.0),
        action_low=(-2.5,),
        action_high=(2.5,),
    )
    save_checkpoint(folder / "base", config, config.build())
    typed = (f"policy={request.param}", f"policy.path={folder / 'base'}", "confirm_episodes=0", "horizon=3")
    assert type_train(folder / "run", *typed) is None
    return folder / "run"


@pytest.mark.parametrize("copied", [True, False], ids=["base copied", "base by path"])
def test_lerobots_loop_gets_the_returns_of_eval(copied: bool, run: Path, tmp_path: Path) -> None:
    export([f"run={run}", f"out={tmp_path / 'out'}", *(["--copy-base"] if copied else [])])
    assert (tmp_path / "out" / "base").is_dir() is copied
    assert type_eval(f"run={run}", "checkpoint=best") is None
    expected = newest_evaluation(run)["worlds"]
    policy = _lerobot_policy(tmp_path / "out")
    before, after = _processors(tmp_path / "out", policy)
    task = build(OmegaConf.load(run / "checkpoints" / "config.yaml"), print).task
    returns, rows = [], torch.arange(2)
    for first in range(0, len(expected["seeds"]), 2):
        policy.reset()
        task.reset(rows, [expected["seeds"][min(first + i, len(expected["seeds"]) - 1)] for i in (0, 1)])
        paid, ended = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.bool)
        while not ended.all():
            batch = before({"observation.state": task.observe().state, "task": ["", ""]})
            step = task.step(after(policy.select_action(batch)))
            paid += torch.where(ended, 0.0, step.reward)
            ended |= step.terminated | step.truncated
        returns += paid.tolist()
    assert returns[: len(expected["returns"])] == pytest.approx(expected["returns"], rel=1e-6)


def test_a_chunk_is_what_the_run_decodes_and_a_vla_exports_too(tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["logging=none", "sac=lp_ds"])  # an algorithm whose evaluations draw
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_configs({"config.yaml": OmegaConf.to_yaml(cfg)})
    parts = build(cfg, print)
    folder.save("best", parts.algorithm.state_dict())
    write_json(folder.base, {"results": {"base": {"instructions": ["pick up the red cube"] * 3}}})
    export([f"run={folder.path}", f"out={tmp_path / 'out'}", "--copy-base"])
    assert '"task": sentences}' in (tmp_path / "out" / "README.md").read_text()
    policy = _lerobot_policy(tmp_path / "out")
    shapes = {
        camera: torch.randint(256, (3, *shape), dtype=torch.uint8) for camera, shape in parts.task.cameras.items()
    }
    seen = Observation(torch.randn(3, parts.task.state_dim), shapes, ("pick up the red cube",) * 3)
    encoding, seeds = parts.policy.encode(seen), [parts.settings.test_seed + i for i in range(3)]
    noise = steered_noise(parts.algorithm, parts.noise, stochastic=parts.algorithm.stochastic)(encoding, seeds, 0)
    expected = parts.policy.decode(encoding, noise)[:, : parts.env.horizon]
    batch: dict[str, Any] = {f"observation.images.{camera}": image / 255 for camera, image in shapes.items()}
    batch |= {"observation.state": seen.state, "task": list(seen.instruction)}
    with pytest.raises(UserError, match="the batch has no task but this policy reads a sentence for every world"):
        policy.predict_action_chunk({key: value for key, value in batch.items() if key != "task"})
    torch.testing.assert_close(policy.predict_action_chunk(batch), expected)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["base_sha256"] == parts.policy_sha256()
    assert set(config["input_features"]) == set(batch) - {"task"}


def test_an_exported_policy_edits_its_chunks_as_the_run_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.export.hub.push", lambda folder, repository: repository)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["logging=none", "experiment=simple_pick_state", "sac=dsrl_edit"])
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_configs({"config.yaml": OmegaConf.to_yaml(cfg)})
    parts = build(cfg, print)
    with torch.no_grad():
        parts.algorithm.head.head.weight.normal_()
        parts.algorithm.head.reach.fill_(0.5)
    folder.save("best", parts.algorithm.state_dict())
    export([f"run={folder.path}", f"out={tmp_path / 'out'}", "--push=me/mine"])  # others have a bundled base too
    assert "base_model" not in (tmp_path / "out" / "README.md").read_text()  # its name is none of the hub
    state, seeds = torch.randn(16, parts.task.state_dim), [parts.settings.test_seed + i for i in range(16)]
    encoding = parts.policy.encode(Observation(state, {}, ("",) * 16))
    act = steered_noise(parts.algorithm, parts.noise, stochastic=parts.algorithm.stochastic)
    decoded = parts.policy.decode(encoding, act(encoding, seeds, 0))[:, : parts.env.horizon]
    expected = parts.algorithm.edit(encoding, decoded)
    assert not torch.equal(expected, decoded)
    played = _lerobot_policy(tmp_path / "out").predict_action_chunk({"observation.state": state, "task": [""] * 16})
    torch.testing.assert_close(played, expected)


@pytest.mark.parametrize("path", ["simple_pick", "simple_pick_state/flow_mlp", "push-v3/flow_mlp"])
def test_every_bundled_policy_is_found_to_be_copied(path: str) -> None:
    assert (_base_folder(path) / "config.json").is_file()


def test_the_model_card_has_both_policies_worlds_and_command(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export([f"run={run}", f"out={tmp_path / 'données'}"])
    printed = capsys.readouterr().out
    assert "lerobot has no environment of this run's task; play it in Python (docs/export.md):\n" in printed
    card = (tmp_path / "données" / "README.md").read_text(encoding="utf-8")
    for policy, text in ((tmp_path / "données", printed), ("données", card)):
        assert f'policy = DsrlPolicy.from_pretrained("{policy}")' in text
    found: dict[str, Any] = {"state": torch.zeros(2, 3)}
    exec(printed.partition("(docs/export.md):\n")[2], found)
    assert found["action"].shape == (2, 1)
    summary = json.loads((run / "summary.json").read_text())
    assert card.startswith("---\nlibrary_name: lerobot\n")
    for name in ("base", "steered"):
        assert f"| {name} | - | - | {summary[name]['mean_return']:.3f} | 5 |" in card
    assert "5 worlds, seeds 1000000 to 1000004" in card
    assert summary["policy_sha256"]["after"] in card


def test_the_model_card_has_no_results_of_another_checkpoint(run: Path, tmp_path: Path) -> None:
    export([f"run={run}", f"out={tmp_path / 'mine'}", "checkpoint=last"])
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "checkpoint `last`" in card
    assert "| steered | not evaluated | - | - | - |" in card
    assert "McNemar" not in card


def test_the_model_card_names_no_common_worlds_where_seeds_repeat_none(run: Path, tmp_path: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    unpaired = {"test": "Welch's test", "p_value": 0.0123}
    (moved / "summary.json").write_text(json.dumps({**summary, "unpaired": unpaired}))
    export([f"run={moved}", f"out={tmp_path / 'mine'}"])
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "Seeds do not repeat these worlds: each policy played its own. Unpaired test: p = 0.012." in card
    assert "the same for both" not in card


@pytest.mark.parametrize(
    ("task", "environment"),
    [
        ({"_target_": "dsrl.task.pusht.PushTTask", "observation": "state"}, ["type=pusht", STATES]),
        (
            {"_target_": "dsrl.task.libero.LiberoTask", "suite": "libero_goal", "id": 2, "max_steps": 9},
            ["type=libero", "task=libero_goal", "task_ids=[2]", "episode_length=9"],
        ),
        (
            {"_target_": "dsrl.task.lerobot.LerobotTask", "env": "aloha", "name": "A-v0", "env_kwargs": {"fps": 10}},
            ["type=aloha", "task=A-v0", "fps=10"],
        ),
    ],
)
def test_the_command_of_lerobot_eval_names_its_environment(task: dict[str, Any], environment: list[str]) -> None:
    settings = {"test_seed": 7, "eval_episodes": 20, "num_envs": 4}
    words = shlex.split(command("my policies/a", {"max_steps": None, **task}, settings) or "")
    assert words[:2] == ["lerobot-eval", "--policy.path=my policies/a"]
    assert words[2:-4] == [f"--env.{text}" for text in environment]
    assert words[-4:] == ["--seed=7", "--eval.n_episodes=20", "--eval.batch_size=4", "--eval.use_async_envs=false"]


def test_another_base_than_the_steered_one_is_refused(run: Path, tmp_path: Path) -> None:
    export([f"run={run}", f"out={tmp_path / 'out'}"])
    kind = json.loads((run.parent / "base" / "config.json").read_text())["policy"]
    other = make_config(kind)
    other = replace(other, action_low=(-2.0,), action_high=(2.0,))
    save_checkpoint(tmp_path / "other", other, other.build())
    with pytest.raises(UserError, match="were steered; restore it, or export again with --copy-base"):
        _lerobot_policy(tmp_path / "out", base_path=str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["out=x"], "error: run is missing; type run=<folder of a run> out=<new folder>\n"),
        (["run=x", "out=."], "error: out=. exists already; name a new folder or delete it\n"),
        (["run=x", "out=y", "seed=1"], "error: seed=1 is no option; type run=<folder of a run> out=<new folder>\n"),
        (["run=x", "out=y", "checkpoint=worst"], "error: checkpoint=worst must be best or last\n"),
        *((["run=x", "out=y", "--push", name], f"error: --push {name} {NO_NAME}\n") for name in ("a/b/c", "mine")),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    typed: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        export(typed)
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize("name", ["d ü's", 'a "b"', "x=1,[y]", "back\\", "plain"])
def test_folders_are_typed_as_train_prints_them(name: str, tmp_path: Path) -> None:
    words = [shlex.split(typed_option(key, tmp_path / name / key))[0] for key in ("run", "out")]
    assert _keys(words, Parser()) == {key: str(tmp_path / name / key) for key in ("run", "out")}


@pytest.mark.parametrize(
    ("typed", "listed"),
    [
        ('["20000"]', ["20000"]),  # the advice of a run that needs it
        ("[20000, '/a b.xml']", ["20000", "/a b.xml"]),
        ("[a.xml,b.xml]", ["a.xml", "b.xml"]),
        ("a.xml", ["a.xml"]),
        ("'20000'", ["20000"]),
        ("[]", []),
    ],
)
def test_lists_are_read_as_eval_reads_them(typed: str, listed: list[str]) -> None:
    keys = _keys(["run=x", "out=y", f"files={typed}"], Parser())
    assert [_listed(keys, key, Parser()) for key in ("files", "plugins")] == [listed, []]


def test_a_folder_in_one_quote_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export(["run=x", 'out="y'])
    assert capsys.readouterr().err.startswith('error: out="y has characters that need quotes of their own; type ')


def test_a_hub_out_of_reach_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
        advice = f"{tmp_path} is complete: type hf auth login, then hf upload me/mine {tmp_path}$"
        with pytest.raises(ValueError, match=f"--push me/mine failed .*; {advice}"):
            push(tmp_path, "me/mine")


def test_a_run_without_a_base_policy_is_not_exported(tmp_path: Path) -> None:
    assert type_train(tmp_path / "run") is None
    with pytest.raises(SystemExit, match="has a policy without weights: there is no base policy to export"):
        export([f"run={tmp_path / 'run'}", f"out={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()


TEMPLATE = ROOT / "docs" / "template"
SHORT_DOCK = (f"hydra.searchpath=[file://{TEMPLATE / 'my_robot' / 'conf'}]", "plugins=[my_robot]", "task=dock")
SHORT_DOCK += ("num_envs=2", "task.max_steps=8", "decisions=16", "warmup_decisions=8", "batch_size=4", "eval_every=16")
SHORT_DOCK += ("eval_episodes=2", "validation_episodes=2", "confirm_episodes=0", "sac.hidden=8")


def test_a_run_on_a_task_of_a_plugin_is_exported_when_the_plugin_is_typed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TEMPLATE))
    numbers: dict[str, Any] = {"state_mean": (0.0,) * 4, "state_std": (1.0,) * 4}
    config = replace(make_config("flow_mlp"), **numbers, action_low=(-1.0,) * 2, action_high=(1.0,) * 2)
    save_checkpoint(tmp_path / "base", config, config.build())
    typed = ("policy=flow_mlp", f"policy.path={tmp_path / 'base'}")
    assert type_train(tmp_path / "run", *typed, start=SHORT_DOCK) is None
    with pytest.raises(SystemExit, match=r"if you trust it, type plugins=\[my_robot\]"):
        export([f"run={tmp_path / 'run'}", f"out={tmp_path / 'out'}"])
    export([f"run={tmp_path / 'run'}", f"out={tmp_path / 'out'}", "plugins=[my_robot]"])
    monkeypatch.undo()  # the exported policy needs no code of the task
    chunk = _lerobot_policy(tmp_path / "out").predict_action_chunk({"observation.state": torch.zeros(3, 4)})
    assert chunk.shape == (3, config.chunk, 2)


def test_a_policy_of_a_plugin_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TEMPLATE))
    assert type_train(tmp_path / "run", start=SHORT_DOCK) is None
    sentence = r"policy is my_robot.policy.drift.Drift: .* of a plugin; export a run whose policy is one of dsrl's own"
    with pytest.raises(SystemExit, match=sentence):
        export([f"run={tmp_path / 'run'}", f"out={tmp_path / 'out'}", "plugins=[my_robot]"])
    assert not (tmp_path / "out").exists()
