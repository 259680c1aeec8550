"""Every option of a cluster has a type and a range, checked before anything is submitted or written."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from toys.commands import CONF
from toys.wrong import wrong

from dsrl.run.config import signatures
from dsrl.run.config.hydra_callbacks import ClusterOptions
from dsrl.run.terminal import choices

CLUSTERS = ("local", "slurm")


def _config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides), return_hydra_config=True)


@cache
def _composed(cluster: str) -> DictConfig:
    return _config(f"cluster={cluster}")


def _wrong() -> Iterator[tuple[str, str, str]]:
    for cluster in CLUSTERS:
        for name, option in signatures.options(choices.options("cluster", cluster)["_target_"]).items():
            yield from ((cluster, name, text) for text in wrong(option.type()))


WRONG = [*_wrong(), *(("slurm", name, "7") for name in ("partition", "account", "qos", "setup", "more"))]


@pytest.mark.parametrize(("cluster", "name", "text"), WRONG)
def test_a_wrong_value_is_one_sentence_that_names_the_key(cluster: str, name: str, text: str) -> None:
    config = deepcopy(_composed(cluster))
    typed = OverridesParser.create().parse_override(f"cluster.{name}={text}")  # as Hydra reads it
    OmegaConf.update(config, f"cluster.{name}", typed.value(), merge=True)
    with pytest.raises(SystemExit) as ended:
        ClusterOptions().on_multirun_start(config)
    assert str(ended.value).startswith(f"error: cluster.{name}=")
    assert " must be " in str(ended.value)
    assert "\n" not in str(ended.value)


def test_every_option_with_a_number_has_wrong_values() -> None:
    assert len(WRONG) >= 70
    assert {name for _, name, _ in WRONG} >= {"gpus", "cpus", "memory", "hours", "timeouts", "signal_delay", "parallel"}


@pytest.mark.parametrize(
    "overrides",
    [
        "cluster=local",
        "cluster=local cluster.parallel=1 cluster.gpus=0",
        "cluster=slurm",
        "cluster=slurm cluster.gpus=null cluster.memory=1.5 cluster.hours=0.5 cluster.partition=gpu",
        "cluster=slurm +cluster.more.constraint=a100 cluster.setup=[make]",
    ],
)
def test_values_that_work_are_accepted(overrides: str) -> None:
    config = _config(*overrides.split())
    assert "cluster_options" in config.hydra.callbacks
    ClusterOptions().on_multirun_start(config)


def test_an_option_that_a_launcher_can_do_without_may_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config("cluster=local", "~cluster.parallel")
    with pytest.raises(SystemExit, match=r"^error: cluster.parallel is missing and hydra_plugins\..*; type \+"):
        ClusterOptions().on_multirun_start(config)
    declared = signatures.options(config.cluster._target_)
    monkeypatch.setattr(
        signatures, "options", lambda target: {name: replace(one, required=False) for name, one in declared.items()}
    )
    ClusterOptions().on_multirun_start(config)
