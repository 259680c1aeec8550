"""Every YAML composes, names a component of its own group, and gives it arguments that it takes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from dsrl.run.config.allow_list import check_targets
from dsrl.run.config.settings import CHECKPOINT_TYPES, GROUPS, Settings, checked
from dsrl.run.config.signatures import options
from dsrl.run.terminal import choices

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
BUILT = [CONF / group / f"{name}.yaml" for group in GROUPS for name in choices.names(group)]
LIVE = {"task", "announce"}  # given by dsrl.run.components.build to those that take them
CHOICES = [
    CONF / group / f"{name}.yaml" for group in choices.groups() for name in choices.names(group) if name != "none"
]


@cache
def _compose(*overrides: str) -> DictConfig:
    """Return the config of train.py, which no test changes: several tests look at the same."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides), return_hydra_config=True)


def _targets(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from _targets(value)


def _required_and_known(target: str) -> tuple[set[str], set[str]]:
    """Arguments of a class or function, read from its source: importing it may take half a minute."""
    module, _, name = target.rpartition(".")
    path = ROOT / module.replace(".", "/")
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if name in functions:
        return _arguments(functions[name])
    own = [node for node in classes[name].body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    if own:
        return _arguments(own[0])
    base = classes[name].bases[0]
    assert isinstance(base, ast.Name)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and base.id in [alias.name for alias in node.names]:
            return _required_and_known(f"{node.module}.{base.id}")
    return _required_and_known(f"{module}.{base.id}")


def _arguments(function: ast.FunctionDef) -> tuple[set[str], set[str]]:
    positional = [argument.arg for argument in function.args.args if argument.arg != "self"]
    optional = set(positional[len(positional) - len(function.args.defaults) :]) if function.args.defaults else set()
    keyword = [argument.arg for argument in function.args.kwonlyargs]
    optional |= {name for name, value in zip(keyword, function.args.kw_defaults, strict=True) if value is not None}
    known = {*positional, *keyword}
    return known - optional, known


@pytest.mark.parametrize("path", CHOICES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_choice_composes(path: Path) -> None:
    cfg = _compose(f"{path.parent.name}={path.stem}")
    assert set(GROUPS) <= set(cfg)


def test_a_task_changes_what_algorithms_learn_with_and_a_key_of_the_algorithm_has_the_last_word() -> None:
    assert _compose("task=pendulum").sac.gamma == _compose("task=pendulum", "sac=lp_ds").sac.gamma == 0.99
    assert _compose("task=pendulum", "gamma=0.5").sac.gamma == 0.5
    assert _compose("task=pendulum", "gamma=0.9", "sac.gamma=0.5").sac.gamma == 0.5


@pytest.mark.parametrize("path", BUILT, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_keys_of_a_choice_are_the_signature_of_its_target(path: Path) -> None:
    group = path.parent.name
    node = OmegaConf.to_container(_compose(f"{group}={path.stem}")[group], resolve=False)
    found = list(_targets(node))
    assert found or path.stem == "none"
    for content in found:
        assert re.fullmatch(rf"dsrl\.{group}\.\w+\.\w+", content["_target_"])
        required, known = _required_and_known(content["_target_"])
        known |= set(options(content["_target_"]))  # those of a TypedDict too, which a builder unpacks
        keys = {key for key in content if not key.startswith("_")}
        assert keys <= known
        assert content.get("_partial_") or required <= keys | LIVE


@pytest.mark.parametrize("group", ["policy", "sac", "noise", "logging"])
def test_a_choice_is_named_like_the_module_that_it_builds(group: str) -> None:
    for name in choices.names(group):
        if name != "none":
            assert (ROOT / "dsrl" / group / f"{name}.py").exists()


def test_every_scalar_of_the_settings_stands_in_train_yaml() -> None:
    cfg = OmegaConf.load(CONF / "train.yaml")
    of_algorithms = {"gamma", "reward_scale", "learning_rate", "critic_warmup_updates", "draws"}
    others = {"defaults", "hydra", "plugins", *CHECKPOINT_TYPES}
    assert set(Settings.__dataclass_fields__) == set(cfg) - others - of_algorithms


@pytest.mark.parametrize("name", ["train", "eval"])
def test_self_stands_first_so_that_choices_win_over_the_main_file(name: str) -> None:
    assert OmegaConf.load(CONF / f"{name}.yaml").defaults[0] == "_self_"


def test_an_experiment_wins_over_defaults_and_the_command_line_over_both() -> None:
    assert _compose("experiment=smoke").decisions == 96
    assert _compose("experiment=smoke", "decisions=7").decisions == 7


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_begins_with_the_command_that_runs_it(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#") and "@package" not in line]
    assert f"python train.py experiment={path.stem}" in comments[0]


def test_pendulum_brings_the_policy_that_it_needs_and_the_command_line_may_choose_another() -> None:
    assert _compose("task=pendulum").policy._target_ == "dsrl.policy.identity.IdentityPolicy"
    assert _compose("task=pendulum", "policy=smolvla").policy._target_ == "dsrl.policy.smolvla.SmolVLA"


def test_a_base_policy_on_a_gymnasium_id_is_steered_by_the_same_values_as_elsewhere() -> None:
    """Those of policy=identity, where a decision is one control step, do not suit chunks."""
    main, gym = _compose(), _compose("task=gym", "policy=smolvla")
    kept = set(main) - {"task", "video_episodes", "hydra"}
    assert {key: main[key] for key in kept} == {key: gym[key] for key in kept}
    alone = _compose("task=gym")
    assert (alone.noise._target_, alone.noise.magnitude) == ("dsrl.noise.full.FullNoise", 1.0)
    assert (alone.decisions, alone.num_envs, alone.gamma) == (100000, 4, 0.99)


def test_the_temperature_is_a_number_or_auto() -> None:
    assert _compose("sac.alpha=0.1").sac.alpha == 0.1
    assert _compose("sac.alpha=auto").sac.alpha == "auto"


@pytest.mark.parametrize("cluster", ["local", "slurm"])
def test_keys_of_a_cluster_are_the_signature_of_its_launcher(cluster: str) -> None:
    cfg = _compose(f"cluster={cluster}", "cluster.parallel=3")
    launcher = cfg.hydra.launcher
    required, known = _required_and_known(launcher._target_)
    assert {key for key in launcher if key != "_target_"} == required == known
    assert launcher.parallel == 3
    assert cfg.hydra.mode.name == "MULTIRUN"  # so that `cluster=…` submits without further flags


def test_without_a_cluster_runs_stay_in_the_process_that_was_started() -> None:
    cfg = _compose()
    assert "cluster" not in cfg
    assert cfg.hydra.launcher._target_ == "hydra_plugins.dsrl_launcher.SequentialLauncher"


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "dsrl.run.saved.folder.os.system",  # an attribute of an attribute
        "dsrl.task.gym.gymnasium.make",
        "dsrl.task.gym.Box",  # imported there, not defined there
        "dsrl.policy.identity.IdentityPolicy",  # ours, but of another group
        "dsrl.task._genesis.start_genesis",
        ["os", "system"],
    ],
)
def test_a_config_cannot_call_what_is_not_a_component(target: Any) -> None:
    with pytest.raises(ValueError, match=r"task\.inner\._target_ .* (may build|is not there)"):
        check_targets({"inner": {"_target_": target}}, "task", "task")


@pytest.mark.parametrize(
    "hidden",
    [
        "${elsewhere}",
        "${oc.create:{_target_: os.system}}",
        "\\${oc.create:{_target_: os.system}}",  # escaped: becomes an interpolation only when it is resolved again
        [1, {"_target_": "os.system"}],
    ],
)
def test_a_target_cannot_hide_in_lists_or_interpolations(hidden: Any) -> None:
    cfg = OmegaConf.create({"elsewhere": {"_target_": "os.system"}, "task": {"inner": hidden}})
    with pytest.raises(ValueError, match=r"task\.inner"):
        checked(cfg, "task")


def test_a_key_that_the_component_does_not_take_is_named() -> None:
    node = {"_target_": "dsrl.task.gym.GymTask", "id": "Pendulum-v1", "num_env": 3}
    with pytest.raises(ValueError, match=r"task\.num_env is no option; dsrl\.task\.gym\.GymTask takes id, num_envs"):
        check_targets(node, "task", "task")


def test_an_argument_that_the_component_needs_is_named() -> None:
    node = {"_target_": "dsrl.task.gym.GymTask", "id": "Pendulum-v1", "max_steps": None}
    with pytest.raises(ValueError, match=r"task\.num_envs is missing and dsrl\.task\.gym\.GymTask needs it; type"):
        check_targets(node, "task", "task")


@pytest.mark.parametrize("target", ["dsrl.task.jim.GymTask", "dsrl.task.gym.JimTask"])
def test_a_component_that_is_not_there_is_one_sentence(target: str) -> None:
    with pytest.raises(ValueError, match=r"task\._target_ .* is not there"):
        check_targets({"_target_": target}, "task", "task")


@pytest.mark.parametrize(
    ("group", "node"),
    [("task", None), ("task", {"id": "Pendulum-v1"}), ("logging", {"csv": {"folder": "."}}), ("logging", {"csv": 3})],
)
def test_a_group_without_a_component_is_one_sentence(group: str, node: Any) -> None:
    with pytest.raises(ValueError, match=rf"{group}.* (choose one of conf/|shows its choices)"):
        checked(OmegaConf.create({group: node}), group)


def test_an_argument_that_only_the_program_can_give_is_no_option() -> None:
    node = {"_target_": "dsrl.noise.full.FullNoise", "magnitude": 1.0, "action_dims": None, "noise_shape": [1, 2]}
    with pytest.raises(ValueError, match=r"noise\.noise_shape is no option; .* takes magnitude, action_dims"):
        check_targets(node, "noise", "noise")
