"""Numbers that are not finite end a run in one sentence that names them, and the last good checkpoint continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess
from toys.mlp_checkpoints import load, make_mlp_checkpoint
from toys.options import OPTIONS
from toys.typed import type_eval, type_train

from dsrl.interfaces import Encoding, Observation, Step
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.policy.identity import IdentityPolicy
from dsrl.run.saved.checkpoint import Checkpoints, read_checkpoint, write_checkpoint
from dsrl.task.gym import GymTask
from dsrl.training.loop import check_finite
from dsrl.training.trainer import Trainer

NAN, INF = float("nan"), float("inf")
Break = Callable[[pytest.MonkeyPatch], None]


def _after(owner: type, name: str, change: Callable[[Any, Any], Any]) -> Break:
    """Return what changes the results of a method: change(object, result) -> result."""

    def install(patch: pytest.MonkeyPatch) -> None:
        original = getattr(owner, name)

        def broken(self: Any, *arguments: Any, **options: Any) -> Any:
            return change(self, original(self, *arguments, **options))

        patch.setattr(owner, name, broken)

    return install


def _reward(value: float) -> Break:
    return _after(GymTask, "step", lambda _, step: replace(step, reward=torch.full_like(step.reward, value)))


def _reward_of_one_world(_: Any, step: Step) -> Step:
    reward = step.reward.clone()
    reward[1] = NAN
    return replace(step, reward=reward)


def _state(value: float) -> Break:
    def change(_: Any, seen: Observation) -> Observation:
        return replace(seen, state=seen.state.index_fill(1, torch.tensor([0]), value))

    return _after(GymTask, "observe", change)


def _chunk(value: float) -> Break:
    def change(_: Any, chunk: Tensor) -> Tensor:
        return torch.full_like(chunk, value)

    return _after(IdentityPolicy, "decode", change)


def _features(value: float) -> Break:
    def change(_: Any, encoding: Encoding) -> Encoding:
        return replace(encoding, features=torch.full_like(encoding.features, value))

    return _after(IdentityPolicy, "encode", change)


def _learnt(part: str, value: float) -> Break:
    """Return what sets the numbers whose name contains `part` after the gradient steps of a round."""

    def change(trainer: Trainer, result: None) -> None:
        state = trainer.algorithm.state_dict()
        assert _set(state, part, value), _names(state)
        trainer.algorithm.load_state_dict(state)

    return _after(Trainer, "_learn", change)


def _replay(field: str) -> Break:
    def change(trainer: Trainer, result: Any) -> Any:
        trainer.buffer._meta[field][:] = NAN
        return result

    return _after(Trainer, "_play", change)


def _set(state: Any, part: str, value: float, name: str = "") -> bool:
    """Set floating-point tensors of a state by name; returns whether there is one."""
    if isinstance(state, Tensor):
        hit = part in name and state.is_floating_point()
        if hit:
            state.fill_(value)
        return hit
    pairs = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    return sum(_set(inner, part, value, f"{name}.{key}") for key, inner in pairs) > 0  # `any` would stop at the first


def _names(state: Any, name: str = "") -> list[str]:
    if isinstance(state, Tensor):
        return [name]
    pairs = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    return [found for key, inner in pairs for found in _names(inner, f"{name}.{key}")]


FAULTS: dict[str, tuple[Break, str]] = {
    "a reward that is nan": (_reward(NAN), "reward of world [0, 1] is not finite"),
    "a reward that is inf": (_reward(INF), "reward of world [0, 1] is not finite"),
    "a reward that is -inf": (_reward(-INF), "reward of world [0, 1] is not finite"),
    "a reward of one world": (_after(GymTask, "step", _reward_of_one_world), "reward of world [1] is not finite"),
    "a reward too large for the critics": (_reward(3e38), "critic_loss is inf after 11 gradient steps"),
    "a reward whose square overflows": (_reward(1e30), "is inf after"),
    "a state that is nan": (_state(NAN), "features of world [0, 1] is not finite"),
    "a state that is inf": (_state(INF), "features of world [0, 1] is not finite"),
    "a state that is -inf": (_state(-INF), "features of world [0, 1] is not finite"),
    "a chunk that is nan": (_chunk(NAN), "chunk of world [0, 1] is not finite"),
    "a chunk that is inf": (_chunk(INF), "chunk of world [0, 1] is not finite"),
    "features that are nan": (_features(NAN), "features of world [0, 1] is not finite"),
    "features that are inf": (_features(INF), "features of world [0, 1] is not finite"),
    "an actor that became nan": (_learnt("actor", NAN), "the actor's noise is not finite"),
    "an actor that became inf": (_learnt("actor", INF), "the actor's noise is not finite"),
    "critics that became nan": (_learnt("critic", NAN), "critic"),
    "critics that became inf": (_learnt("critic", INF), "critic"),
    "critics that became huge": (_learnt("critic", 1e38), "is"),
    "moments of the optimisers that became nan": (_learnt("exp_avg", NAN), "actor_loss is nan after 9 gradient steps"),
    "replay whose rewards became nan": (_replay("rew"), "is nan after"),
    "replay whose features became nan": (_replay("obs"), "is nan after"),
}


@contextmanager
def _broken(fault: Break) -> Iterator[None]:
    """Break all runs of the block."""
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        yield


@pytest.mark.parametrize("name", FAULTS)
def test_a_number_that_is_not_finite_ends_training_in_one_sentence(name: str, halfway: Path) -> None:
    run, (fault, words) = halfway, FAULTS[name]
    with _broken(fault):
        ending = str(type_train(run))
    assert ending.startswith("error: FloatingPointError: "), ending
    assert words in ending
    assert "\n" not in ending
    assert f"hydra.run.dir={run} continues from 80 decisions" in ending
    assert sorted(path.name for path in (run / "resume").iterdir() if path.name.isdigit())[-1] == "000000080"
    check_finite(read_checkpoint(run / "checkpoints" / "best"))
    check_finite(read_checkpoint(run / "checkpoints" / "last"))
    assert type_train(run) is None


def test_a_state_that_is_huge_and_finite_leaves_all_weights_finite(halfway: Path) -> None:
    with _broken(_state(3e38)):
        assert type_train(halfway) is None
    for name in ("best", "last"):
        check_finite(read_checkpoint(halfway / "checkpoints" / name))


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("part", ["actor", "critic"])
def test_weights_of_a_checkpoint_that_are_not_finite_are_refused(part: str, value: float, run: Path) -> None:
    best = run / "checkpoints" / "best"
    state = read_checkpoint(best)
    assert _set(state, part, value)
    write_checkpoint(best, state, json.loads((best / "manifest.json").read_text())["notes"])
    ending = str(type_eval(f"run={run}"))
    assert ending.startswith(f"error: checkpoint=best of {run}: ")
    assert "is not finite" in ending
    assert "\n" not in ending
    assert not (run / "eval").exists()


@pytest.mark.parametrize("part", ["actor", "exp_avg"])
def test_a_state_to_continue_from_that_is_not_finite_is_one_sentence(part: str, run: Path) -> None:
    newest = run / "resume" / "000000120"
    state = read_checkpoint(newest)
    assert _set(state["loop"]["algorithm"], part, NAN)
    Checkpoints(run / "resume", 2).save(120, state)
    ending = str(type_train(run, "decisions=160"))
    assert "the checkpoint's " in ending
    assert "is not finite" in ending
    assert "\n" not in ending


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state_mean", [NAN, 0.0, 0.0]),
        ("state_mean", [INF, 0.0, 0.0]),
        ("state_std", [0.0, 1.0, 1.0]),
        ("state_std", [NAN, 1.0, 1.0]),
        ("state_std", [-1.0, 1.0, 1.0]),
        ("action_low", [NAN, 0.0]),
        ("action_low", [2.0, 0.0]),
        ("action_high", [INF, 5.0]),
    ],
)
def test_statistics_of_an_mlp_without_value_or_spread_are_one_sentence(key: str, value: Any, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "mlp", "flow_mlp")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ValueError, match=r"config\.json|spread|above|below|between") as raised:
        load("flow_mlp", folder, None)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("algorithm", OPTIONS)
def test_every_algorithm_begins_with_finite_numbers(algorithm: str) -> None:
    env = NoiseActionEnv(Guess(4, max_steps=6), Echo(), RepeatNoise((2, 1), 1.0, None), horizon=2)
    check_finite(build_algorithm(algorithm, env).state_dict())
