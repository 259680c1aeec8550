"""What all jobs of a sweep share is checked before the first of them."""

from __future__ import annotations

import re

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from toys.commands import CONF
from toys.complaints import composed

from dsrl.run.config.hydra_callbacks import SharedValues, TypedWords


def swept(ranges: str, *typed: str) -> DictConfig:
    """Return the config of a sweep of which `ranges`, which no config of one run can have, was typed too."""
    config = composed(*typed)
    with open_dict(config):
        config.hydra.overrides.task.extend(ranges.split())
    return config


@pytest.mark.parametrize(
    ("typed", "ranges", "sentence"),
    [
        ("experiment=hopper_official experiment=suite", "", "experiment=hopper_official and experiment=suite are both"),
        ("suite=push_v3", "suite=hopper,walker2d", "suite=push_v3 and suite=hopper,walker2d are both typed; leave one"),
    ],
)
def test_two_choices_of_one_group_are_refused_in_a_sweep(typed: str, ranges: str, sentence: str) -> None:
    with pytest.raises(SystemExit, match=f"^error: {re.escape(sentence)}"):
        TypedWords().on_multirun_start(swept(ranges, *typed.split()))
    TypedWords().on_multirun_start(swept("suite=hopper,walker2d seed=0,1", "seed=3"))  # a command that is continued
    for name in ("train", "eval"):
        callbacks = OmegaConf.load(CONF / f"{name}.yaml").hydra.callbacks
        assert callbacks.typed_words._target_ == "dsrl.run.config.hydra_callbacks.TypedWords"


@pytest.mark.parametrize("ranges", ["", "seed=0,1", "seed=range(0,2)"])
def test_a_value_that_no_seed_mends_is_refused_once(ranges: str) -> None:
    with pytest.raises(SystemExit, match=r"^error: decisions=0 must be at least 1"):
        SharedValues().on_multirun_start(swept(ranges, "task=pendulum", "decisions=0"))


@pytest.mark.parametrize("ranges", ["offline_updates=3,4 offline_data=a,b", "task=pendulum,hopper", "seed=0,1"])
def test_a_sweep_is_not_refused_for_values_that_others_of_it_mend(ranges: str) -> None:
    decisions = "decisions=900" if ranges.startswith("seed") else "decisions=0"
    SharedValues().on_multirun_start(swept(ranges, "task=pendulum", decisions))
