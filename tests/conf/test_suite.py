"""Experiments over many tasks run all of them, each of which is a delta that nothing silently undoes."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.complaints import complaint, composed

from dsrl.run.terminal import choices

ROOT = Path(__file__).parents[2]


def test_the_experiment_runs_every_task_of_the_suite_and_evaluates_w_0() -> None:
    cfg = composed("experiment=suite")
    assert sorted(cfg.hydra.sweeper.params.suite.split(",")) == choices.names("suite")
    assert cfg.zero_noise is True


def test_the_experiment_on_metaworld_gives_each_task_the_policy_that_the_guide_makes() -> None:
    cfg = composed("experiment=metaworld")
    guide = (ROOT / "docs/benchmarks.md").read_text()
    for name in cfg.hydra.sweeper.params["task.name"].split(","):
        assert name.removesuffix("-v3") in guide
        one = composed("experiment=metaworld", f"task.name={name}")
        assert one.policy.path == f"data/metaworld/{name}/base"
    assert "--out data/metaworld/$name-v3/base" in guide


@pytest.mark.parametrize("name", choices.names("suite"))
def test_a_task_of_the_suite_is_accepted_with_any_learner(name: str) -> None:
    for sac in ("dsrl_sac", "dsrl_na"):
        assert complaint("experiment=suite", f"suite={name}", f"sac={sac}", "seed=1") is None


@pytest.mark.parametrize("noise", ["repeat", "smooth", "full"])
@pytest.mark.parametrize(("name", "experiment"), [("state", "simple_pick_state"), ("place", "pick_place_state")])
def test_the_tasks_on_states_differ_in_noise_alone(name: str, experiment: str, noise: str) -> None:
    cfg, alone = composed(f"suite={name}_{noise}"), composed(f"experiment={experiment}", f"noise={noise}")
    for key in ("task", "policy", "noise", "sac", "decisions", "num_envs"):
        assert cfg[key] == alone[key]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (
            ("suite=state_full", "task=pendulum"),
            "error: suite=state_full is of task=simple_pick; leave out",
        ),
        (("suite=state_full", "method=sac_repeat"), "error: method=sac_repeat means noise=repeat but suite=state_full"),
    ],
)
def test_what_contradicts_a_task_of_the_suite_is_refused(typed: tuple[str, ...], sentence: str) -> None:
    assert (complaint(*typed) or "").startswith(sentence)
