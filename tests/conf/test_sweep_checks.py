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


@pytest.mark.parametrize(
    ("ranges", "sentence"),
    [
        ("seed=range(0,0)", "seed=range(0,0) names no value; type one or more"),
        ("seed=range(0,3,-1)", "seed=range(0,3,-1) names no value"),
        ("seed=range(0,1,0)", "seed=range(0,1,0) has a step of 0; type another one"),
        ("seed=0,1,a", "seed=a must be a whole number"),
        ("sac.hidden=range(64,0,-64)", "sac.hidden=range(64,0,-64) has a step of -64; type one above 0"),
        ("sac.tau=interval(0.1,0.01)", "sac.tau=interval(0.1,0.01) ends below its start; type the smaller number"),
        ("sac.tau=interval(0.1,2)", "sac.tau=2.0 must be above 0 and at most 1"),
        ("sac.tau=tag(log,interval(0,1))", "sac.tau=tag(log,interval(0,1)) has no logarithm at its start"),
        ("learning_rate=0.1,0", "learning_rate=0 must be above 0 and at most 1"),
        ("sac.activation=choice(ReLU,relu)", "sac.activation=relu must be ReLU, Tanh, SiLU, GELU or ELU"),
        (
            "sac.tau=0.1 seed=3 sac.tau=interval(0.1,0.5)",
            "sac.tau=0.1 and sac.tau=interval(0.1,0.5) are both typed, a value and a range; leave one of them out",
        ),
        ("sac.tau=choice(0.1,0.5) sac.tau=0.1", "sac.tau=choice(0.1,0.5) and sac.tau=0.1 are both typed"),
        ("out=range(0,0)", "out=range(0,0) names no value"),
    ],
)
def test_values_that_no_run_takes_are_refused_before_the_first(ranges: str, sentence: str) -> None:
    search = ["hparams=optuna"] if "sac" in ranges else []
    with pytest.raises(SystemExit, match=f"^error: {re.escape(sentence)}"):
        TypedWords().on_multirun_start(swept(ranges, *search))


@pytest.mark.parametrize(
    "ranges",
    [
        "seed=range(3,0,-1) sac.alpha=auto,0.1 sac.activation='ReLU',Tanh utd=${num_envs},1",
        "sac=dsrl_na,lp_ds sac.delta=1,2 sac.tau=2,3 resume=null,some/run unknown=1,2 sac.unknown=1,2",
        "task.id=Pendulum-v1,'3' offline_data='a b',c hydra.verbose=true,false plugins=[],[a]",
    ],
)
def test_values_that_some_run_may_take_start_a_sweep(ranges: str) -> None:
    config = swept("", "task=pendulum")
    with open_dict(config):
        config.hydra.overrides.task.extend(re.split(r" (?=[\w.]+=)", ranges))
    TypedWords().on_multirun_start(config)


@pytest.mark.parametrize("ranges", ["", "seed=0,1", "seed=range(0,2)"])
def test_a_value_that_no_seed_mends_is_refused_once(ranges: str) -> None:
    with pytest.raises(SystemExit, match=r"^error: decisions=0 must be at least 1"):
        SharedValues().on_multirun_start(swept(ranges, "task=pendulum", "decisions=0"))


@pytest.mark.parametrize("ranges", ["offline_updates=3,4 offline_data=a,b", "task=pendulum,hopper", "seed=0,1"])
def test_a_sweep_is_not_refused_for_values_that_others_of_it_mend(ranges: str) -> None:
    decisions = "decisions=900" if ranges.startswith("seed") else "decisions=0"
    SharedValues().on_multirun_start(swept(ranges, "task=pendulum", decisions))
