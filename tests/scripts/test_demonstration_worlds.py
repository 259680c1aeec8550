"""Demonstrations come from worlds that judge no policy: neither those of evaluations nor those of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dsrl.noise_action_env import FIRST_DRAWN_SEED
from dsrl.run.terminal.installed import CONF
from scripts import collect_expert
from scripts._demonstration_worlds import demonstration_world
from scripts._options import LARGEST_SEED
from scripts.collect_demos import recording
from scripts.medium_base import rollouts
from scripts.pretrain import pointing


class PlayedError(Exception):
    """Ends a collector at its first worlds, which it names."""


def _reset(rows: Any, seeds: Sequence[int]) -> None:
    raise PlayedError(list(seeds))


def _play(expert_or_task: Any, seeds: Sequence[int], *others: Any) -> None:
    raise PlayedError(list(seeds))


class Worlds:
    """Two worlds that only say which they are."""

    num_envs = 2
    fps = 10
    reset = staticmethod(_reset)

    def __init__(self, *options: Any) -> None:
        pass

    def __len__(self) -> int:
        return self.num_envs


COLLECTORS: dict[str, Callable[[Any, int], Any]] = {
    "collect_expert": lambda task, seed: collect_expert.collect(SimpleNamespace(task=task), "", Path(), 1, 0.0, seed),
    "collect_demos": lambda task, seed: recording.collect(task, Path(), 2, seed, 0.0, 0.0),
    "pretrain.ground": lambda task, seed: pointing.render_worlds(2, 2, seed),
    "medium_base": lambda task, seed: next(rollouts.play(task, None, 1, seed)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", COLLECTORS)
@pytest.mark.parametrize("seed", [0, 1, 2, 3, LARGEST_SEED])
def test_a_collector_plays_worlds_of_demonstrations(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_expert, "play", _play)
    monkeypatch.setattr(recording, "play", _play)
    monkeypatch.setattr(recording, "create_dataset", lambda *options: None)
    monkeypatch.setattr(pointing, "SimplePick", Worlds)
    with pytest.raises(PlayedError) as played:
        COLLECTORS[name](Worlds(), seed)
    assert played.value.args[0] == [demonstration_world(seed, 0), demonstration_world(seed, 1)]


@given(seed=st.integers(0, LARGEST_SEED), index=st.integers(0, 10_000_000))
def test_no_world_of_a_demonstration_judges_a_policy(seed: int, index: int) -> None:
    default = OmegaConf.load(CONF / "train.yaml")
    judging = [default.test_seed + default.eval_episodes, default.validation_seed + default.validation_episodes]
    judging.append(default.confirm_seed + default.confirm_episodes)
    assert max(judging) < demonstration_world(seed, index) < FIRST_DRAWN_SEED


def test_recordings_of_two_seeds_share_no_world() -> None:
    worlds = {demonstration_world(seed, index) for seed in range(8) for index in range(1000)}
    assert len(worlds) == 8000
