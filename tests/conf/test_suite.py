"""The suite: one experiment runs all of its tasks, each of which is a delta that nothing silently undoes."""

from __future__ import annotations

import pytest
from toys.complaints import complaint, composed

from dsrl.run import choices


def test_the_experiment_runs_every_task_of_the_suite_and_evaluates_w_0() -> None:
    cfg = composed("experiment=suite")
    assert sorted(cfg.hydra.sweeper.params.suite.split(",")) == choices.names("suite")
    assert cfg.zero_noise is True


@pytest.mark.parametrize("name", choices.names("suite"))
def test_a_task_of_the_suite_is_accepted_with_any_learner(name: str) -> None:
    for sac in ("dsrl_sac", "dsrl_na"):
        assert complaint("experiment=suite", f"suite={name}", f"sac={sac}", "seed=1") is None


@pytest.mark.parametrize(
    ("name", "noise"), [("state_repeat", "repeat"), ("state_smooth", "smooth"), ("state_full", "full")]
)
def test_the_state_tasks_differ_in_noise_alone(name: str, noise: str) -> None:
    cfg, alone = composed(f"suite={name}"), composed("experiment=simple_pick_state", f"noise={noise}")
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
