"""Weights that do not fit the algorithm of the config beside them: one sentence that names the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess
from toys.typed import type_eval

from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.saved.folder import RunFolder
from dsrl.run.saved.weights import check_weights_size, load_weights
from dsrl.run.terminal.errors import UserError

ADVICE = "; restore weights and config that one run wrote together, or train again"


def _algorithm(name: str, **changes: Any) -> Any:
    return build_algorithm(name, NoiseActionEnv(Guess(2), Echo(), RepeatNoise((2, 1), 1.0, None), horizon=2), **changes)


def test_an_evaluation_names_the_weight_of_another_shape(run: Path) -> None:
    folder = RunFolder(run)
    state = folder.load("best")
    folder.save("best", {**state, "policy.actor.trunk.0.weight": torch.zeros(8, 3)})
    assert type_eval(f"run={run}") == (
        f"error: checkpoint=best of {run} does not fit the run's algorithm: policy.actor.trunk.0.weight has shape "
        f"[8, 3] in the file, but [128, 3] by the config{ADVICE}"
    )


def test_an_evaluation_reads_no_weights_for_which_memory_is_short(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsrl.run.saved.checkpoint.available_memory", lambda: 100)
    assert "MiB but 0 MiB are free; use another checkpoint" in str(type_eval(f"run={run}"))


@pytest.mark.parametrize("name", ["dsrl_sac", "golden_ticket"])
def test_weights_far_larger_than_those_of_the_config_are_refused_by_their_size(name: str, tmp_path: Path) -> None:
    algorithm = _algorithm(name)
    large = {**algorithm.state_dict(), "left": torch.full((1_000_000,), torch.nan)}
    with pytest.raises(UserError, match=r"best does not fit the run's algorithm: it has 3\.8 MiB, but 0\.0 MiB by the"):
        load_weights(algorithm, large, "best")
    file = tmp_path / "model.safetensors"
    with file.open("wb") as sparse:
        sparse.truncate(10**10)
    with pytest.raises(UserError, match=r"does not fit the run's algorithm: it has 9536\.7 MiB"):
        check_weights_size(file, algorithm)


@pytest.mark.parametrize("name", ["dsrl_sac", "dsrl_na", "golden_ticket"])
def test_a_weight_that_is_missing_is_named(name: str) -> None:
    state = dict(_algorithm(name).state_dict())
    (key, *_) = (key for key in state if key.endswith(("head.weight", "ticket")))
    del state[key]
    with pytest.raises(UserError) as refused:
        load_weights(_algorithm(name), state, "checkpoint=best")
    assert str(refused.value) == f"checkpoint=best does not fit the run's algorithm: {key} is not in the file{ADVICE}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: {**state, "x" * 200: torch.zeros(1)}, f"'{'x' * 100}' is in the file, but not in the algorithm"),
        (lambda state: 3, "discount is not in the file"),
        (lambda state: [state], "discount is not in the file"),
    ],
    ids=["left over", "a number", "a list"],
)
def test_a_state_of_another_form_is_one_sentence_with_a_key(change: Callable[[Any], Any], reason: str) -> None:
    state = change(dict(_algorithm("dsrl_sac").state_dict()))
    with pytest.raises(UserError) as refused:
        load_weights(_algorithm("dsrl_sac"), state, "checkpoint=best")
    assert str(refused.value) == f"checkpoint=best does not fit the run's algorithm: {reason}{ADVICE}"


def test_a_ticket_for_other_noise_is_named_by_both_shapes() -> None:
    with pytest.raises(UserError, match=r"ticket has shape \[5\] in the file, but \[\d\] by the config; restore"):
        load_weights(_algorithm("golden_ticket"), {"ticket": torch.zeros(5)}, "checkpoint=best")


def test_weights_that_fit_are_loaded() -> None:
    trained, fresh = (_algorithm("dsrl_sac", seed=seed) for seed in (1, 2))
    load_weights(fresh, trained.state_dict(), "checkpoint=best")
    own, stored = fresh.state_dict(), trained.state_dict()
    tensors = [key for key, value in stored.items() if isinstance(value, torch.Tensor)]
    assert tensors
    assert all(torch.equal(own[key], stored[key]) for key in tensors)
