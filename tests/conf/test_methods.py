"""A method chooses an algorithm and its budget; it changes nothing that a task has chosen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from toys.commands import CONF
from toys.complaints import NEEDS, complaint, complaint_of, composed

from dsrl.run.config.settings import checked
from dsrl.run.terminal import choices
from dsrl.run.terminal.errors import UserError
from scripts._parts import composed as composed_by_scripts

METHODS = {  # method -> the same, typed
    "sac_repeat": ("sac=dsrl_sac", "noise=repeat"),
    "sac_full": ("sac=dsrl_sac", "noise=full"),
    "na": ("sac=dsrl_na", "noise=auto", "batch_size=128"),
    "lp_ds": ("sac=lp_ds", "noise=auto"),
    "golden_ticket": ("sac=golden_ticket", "noise=full"),
    "best_of_n": ("sac=dsrl_na", "noise=full", "batch_size=64", "best_of=16", "draws=fresh"),
}


def _plain(*overrides: str) -> dict[str, Any]:
    """Return a composed config without Hydra's own part."""
    cfg: Any = OmegaConf.to_container(composed(*overrides), resolve=False)
    return {key: value for key, value in cfg.items() if key != "hydra"}


def _leaves(node: Any, where: str = "") -> Iterator[str]:
    for key, value in node.items():
        name = f"{where}{key}"
        yield from _leaves(value, f"{name}.") if isinstance(value, dict) and value else [name]


def _of_files(task: str) -> Iterator[str]:
    """Yield the keys that the file of a task, and the files that it shares, set."""
    content = yaml.safe_load((CONF / "task" / f"{task}.yaml").read_text())
    text = (CONF / "task" / f"{task}.yaml").read_text()
    own = {key: value for key, value in content.items() if key != "defaults"}
    yield from _leaves(own if "@package _global_" in text else {"task": own})
    for base in content.get("defaults", []):
        if isinstance(base, str) and base != "_self_":
            yield from _of_files(base)


def test_every_method_is_listed() -> None:
    assert set(METHODS) == set(choices.names("method"))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_means_the_choices_and_values_that_it_stands_for(method: str) -> None:
    for experiment in ([], ["experiment=methods"]):
        assert _plain(*experiment, f"method={method}") == _plain(*experiment, *METHODS[method])


@pytest.mark.parametrize("method", METHODS)
def test_the_methods_on_state_observations_share_one_batch_size(method: str) -> None:
    typed = [text for text in METHODS[method] if not text.startswith("batch_size")]
    cfg = _plain("experiment=methods_state", f"method={method}")
    assert cfg == _plain("experiment=methods_state", *typed)
    assert cfg["batch_size"] == 256
    assert cfg["policy"]["_target_"] == "dsrl.policy.flow_mlp.FlowMLP"
    assert cfg["task"]["observation"] == "state"


def test_a_task_keeps_its_noise_and_batch_under_a_method_and_typed_values_win() -> None:
    cfg = composed("task=hopper", "method=na")
    assert (cfg.noise._target_, cfg.batch_size) == ("dsrl.noise.full.FullNoise", 256)
    cfg = composed("task=hopper", "method=na", "noise=repeat", "batch_size=32")
    assert (cfg.noise._target_, cfg.batch_size) == ("dsrl.noise.repeat.RepeatNoise", 32)


@pytest.mark.parametrize("method", ["golden_ticket", "best_of_n"])
def test_a_typed_noise_replaces_that_of_a_published_method(method: str) -> None:
    for noise in ("repeat", "smooth"):
        cfg = composed(f"method={method}", f"noise={noise}")
        assert cfg.hydra.runtime.choices["noise"] == noise
        assert complaint(f"method={method}", f"noise={noise}") is None


@pytest.mark.parametrize("task", choices.names("task"))
def test_a_task_takes_every_method_and_algorithm_and_none_changes_a_key_that_the_task_sets(task: str) -> None:
    """Each task meets every method, and every algorithm that is typed beside one; the tasks meet all pairs of both."""
    turn, sacs = choices.names("task").index(task), choices.names("sac")
    beside = islice(cycle(METHODS), turn, turn + len(sacs))
    also = NEEDS.get(task, ())
    alone, keys = _plain(f"task={task}", *also), list(_of_files(task))
    chosen = choices.chosen_by("task", task)
    for method, sac in [*product(METHODS, [None]), *zip(beside, sacs, strict=True)]:
        typed = [f"sac={sac}"] if sac else []
        cfg = composed(f"task={task}", f"method={method}", *typed, *also)
        plain: Any = OmegaConf.to_container(cfg, resolve=False)
        for key in keys:
            assert _value(plain, key) == _value(alone, key), f"method={method} changes {key} of task={task}"
        for group, choice in chosen.items():
            assert cfg.hydra.runtime.choices[group] == choice
        for group in ("task", "policy", "noise", "sac"):
            checked(cfg, group)
        if not sac:
            message = complaint_of(cfg)
            means_another = method == "sac_repeat" and "chooses noise=full; type noise=repeat too" in str(message)
            assert message is None or means_another, message


def _value(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node[part]
    return node


@pytest.mark.parametrize(
    ("typed", "algorithm"),
    [
        ("policy=smolvla", "dsrl_sac"),
        ("policy=lerobot policy.path=x", "dsrl_sac"),
        ("policy=identity task=pendulum", "dsrl_sac"),
        ("policy=flow_mlp", "dsrl_na"),
        ("task=hopper", "dsrl_na"),
        ("task=metaworld policy=lerobot policy.path=x", "dsrl_sac"),
        ("task=metaworld sac=dsrl_sac", "dsrl_sac"),
        ("experiment=simple_pick_state method=sac_repeat", "dsrl_sac"),
    ],
)
def test_a_policy_that_decodes_at_little_cost_chooses_the_algorithm_and_a_typed_one_wins(
    typed: str, algorithm: str
) -> None:
    assert composed(*typed.split()).sac._target_ == f"dsrl.sac.{algorithm}.build_{algorithm}"


def test_a_choice_of_a_policy_is_read_from_the_file_that_it_shares() -> None:
    assert choices.chosen_by("policy", "flow_mlp") == {"sac": "dsrl_na"}


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (
            "task=ours method=our_full",
            "method=our_full means noise=full but task=ours chooses noise=repeat; type",
        ),
        ("task=ours method=our_full noise=repeat", None),
        ("experiment=our_paper task=pendulum", "experiment=our_paper is of task=ours; leave out task=pendulum, or the"),
        ("experiment=our_paper", None),
    ],
)
def test_choices_in_a_folder_of_the_search_path_are_compared_too(
    typed: str, sentence: str | None, tmp_path: Path
) -> None:
    own = {
        "task/ours": ["pendulum", {"override /noise": "repeat"}],
        "method/our_base": [{"override /noise": "full"}, {"override /sac": "dsrl_sac"}],
        "method/our_full": ["/method/our_base"],
        "experiment/our_paper": [{"override /task": "ours"}],
    }
    for name, defaults in own.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(f"# @package _global_\n{yaml.safe_dump({'defaults': defaults})}")
    overrides = [*typed.split(), f"hydra.searchpath=[file://{tmp_path}]"]
    found = complaint(*overrides)
    assert found is None if sentence is None else str(found).startswith(f"error: {sentence}")
    if sentence is not None:
        with pytest.raises(UserError, match=re.escape(sentence)):
            composed_by_scripts(overrides)
