"""Gradient steps that are replayed learn what plain ones learn; a restored state and another batch size included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tianshou.utils.torch_utils import policy_within_training_step
from toys.learners import LEARNERS, NEEDS_CUDA, filled, learner
from toys.options import OPTIONS
from toys.recording import CallsAgain

from dsrl.sac import _recordings

FEATURES, DIM = 5, 4
STEPS = {"lp_ds": 1, "dsrl_na": 2, "dsrl_select": 2, "dsrl_edit": 3}  # that are recorded; the others: 1


def learnt(name: str, device: str) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """Learn from random transitions; returns weights and statistics."""
    torch.manual_seed(0)
    np.random.seed(0)
    often = {"noise_critic_grad_steps": 6} if "noise_critic_grad_steps" in OPTIONS[name] else {}
    algorithm, buffer = learner(name, FEATURES, DIM, critic_warmup_updates=2, **often), filled(FEATURES, DIM)
    algorithm.to(device)
    with policy_within_training_step(algorithm.policy):
        stats = algorithm.warm_up(buffer, 8) + algorithm.learn(buffer, 8, 6)
        algorithm.load_state_dict(algorithm.state_dict())
        stats += algorithm.learn(buffer, 8, 5) + algorithm.learn(buffer, 6, 5)
    weights = {key: value.cpu() for key, value in algorithm.named_parameters()}
    return weights, [one.get_loss_stats_dict() for one in stats]


@pytest.mark.parametrize("name", LEARNERS)
def test_replayed_steps_learn_what_plain_ones_learn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = learnt(name, "cpu")
    recorders: list[CallsAgain] = []
    monkeypatch.setattr(_recordings, "recorder", lambda _: recorders.append(CallsAgain()) or recorders[-1])
    replayed = learnt(name, "cpu")
    torch.testing.assert_close(replayed, plain, rtol=0, atol=0)
    assert len(recorders) == 2 * STEPS.get(name, 1)  # a restored state is recorded anew
    assert all(one.recorded for one in recorders)


@pytest.mark.parametrize(("name", "optimiser"), [("dsrl_sac", "policy_optim"), ("dsrl_edit", "head_optim")])
def test_critics_learn_on_after_a_step_that_failed(name: str, optimiser: str) -> None:
    """Where CUDA cannot record a step, it is taken again as it is."""

    def fail(loss: torch.Tensor) -> None:
        raise RuntimeError("out of memory")

    algorithm, buffer = learner(name, FEATURES, DIM), filled(FEATURES, DIM)
    getattr(algorithm, optimiser).step = fail
    with policy_within_training_step(algorithm.policy), pytest.raises(RuntimeError, match="out of memory"):
        algorithm.learn(buffer, 8, 1)
    assert all(weight.requires_grad for weight in algorithm.critic.parameters())


@NEEDS_CUDA
@pytest.mark.parametrize("name", LEARNERS)
def test_steps_that_cuda_replays_learn_what_plain_ones_learn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replayed = learnt(name, "cuda")
    monkeypatch.setattr(_recordings, "recorder", lambda _: None)
    torch.testing.assert_close(replayed, learnt(name, "cuda"), rtol=1e-4, atol=1e-5)
