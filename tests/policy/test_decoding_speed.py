"""Decoding is rearranged for speed: replays, joined weights and float32 products of oneDNN give the plain numbers."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from policy.checkpoints import load, observe
from torch import Tensor, nn
from toys.recording import CallsAgain, results_beside
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from dsrl.cuda_graph import MOST_SHAPES, Call, Replayed, Tensors, rounded_up
from dsrl.policy import _smolvla_expert, smolvla
from dsrl.policy._linear import HAS_ONEDNN, FrozenLinear, multiplier, speed_up_linear_layers, store_by_columns


class Refuses(CallsAgain):
    def record(self, call: Call) -> Call:
        raise RuntimeError("operation not permitted when stream is capturing")


def double(*given: Tensor) -> Tensors:
    return tuple(2 * one for one in given)


def test_a_policy_that_is_replayed_gives_the_plain_features_and_chunks_of_every_number_of_worlds(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load(checkpoint)
    recorders: list[CallsAgain] = []
    monkeypatch.setattr(smolvla, "recorder", lambda _: recorders.append(CallsAgain()) or recorders[-1])
    replayed = load(checkpoint)
    encoded, chunks = results_beside(plain, replayed, observe)
    for pair in encoded + chunks:  # at the end: no later call changed an earlier result
        torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-5)
    assert recorders[-1].recorded >= 3 * 3  # vision, layers and denoising, of 3, 5 and 10 rows


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.filterwarnings("error::UserWarning")  # as where CUDA cannot record a computation
def test_recordings_of_cuda_give_the_features_and_chunks_of_the_cpu(checkpoint: Path) -> None:
    on_cpu, on_cuda = load(checkpoint), load(checkpoint, device="cuda")
    for turn, worlds in enumerate([5, 3, 5, 3, 5, 9, 10]):
        observation = observe(on_cpu, seed=turn)[torch.arange(worlds) % 3]
        noise = torch.randn(worlds, *on_cpu.noise_shape, generator=torch.Generator().manual_seed(turn))
        encoding, expected = on_cuda.encode(observation), on_cpu.encode(observation)
        torch.testing.assert_close(encoding.features.cpu(), expected.features, rtol=1e-3, atol=1e-4)
        chunks = on_cuda.decode(encoding, noise).cpu(), on_cpu.decode(expected, noise)
        torch.testing.assert_close(*chunks, rtol=1e-3, atol=1e-4)


def test_a_replay_gives_each_call_rows_of_its_own() -> None:
    replayed = Replayed(double, CallsAgain())
    given = [torch.randn(rows, 2) for rows in (9, 10, 9, 10, 9)]
    assert all(torch.equal(*pair) for pair in [(replayed(one)[0], 2 * one) for one in given])


@given(rows=st.integers(1, 5000))
def test_rows_are_rounded_up_by_at_most_a_quarter_to_one_of_four_sizes_a_power_of_two(rows: int) -> None:
    room = rounded_up(rows)
    assert rows <= room <= 1.25 * rows
    assert len({rounded_up(one) for one in range(room // 2 + 1, room + 1)}) <= 5


def test_a_step_of_any_shapes_is_replayed_on_its_own_shapes() -> None:
    recorder, weight = CallsAgain(), torch.zeros(3)

    def step(inputs: Tensor, scale: Tensor) -> Tensors:
        weight.add_(scale * inputs.sum(0))
        return (weight.sum(),)

    replayed = Replayed(step, recorder, plain_calls=3, by_rows=False)
    totals = [replayed(torch.ones(9, 3), torch.tensor(1.0))[0].item() for _ in range(6)]
    assert totals == [27.0 * turn for turn in range(1, 7)]
    assert recorder.recorded == 1


def test_shapes_beyond_the_most_are_computed_plainly() -> None:
    recorder = CallsAgain()
    replayed = Replayed(double, recorder, by_rows=False)
    for size in range(1, MOST_SHAPES + 3):
        for _ in range(3):
            assert torch.equal(replayed(torch.ones(size))[0], 2 * torch.ones(size))
    assert recorder.recorded == MOST_SHAPES


def test_a_call_that_cannot_be_recorded_is_computed_plainly_with_one_warning() -> None:
    replayed = Replayed(double, Refuses())
    replayed(torch.ones(2))
    with pytest.warns(UserWarning, match=r"not recorded as a CUDA graph \(operation not permitted .*step by step"):
        assert torch.equal(replayed(torch.ones(2))[0], 2 * torch.ones(2))
    assert torch.equal(replayed(torch.ones(2))[0], 2 * torch.ones(2))


@pytest.mark.parametrize("rows", [1, 31, 32, 200])
@pytest.mark.parametrize("bias", [True, False])
def test_a_frozen_layer_gives_the_product_of_the_layer_it_replaces(rows: int, bias: bool) -> None:
    layer = nn.Linear(24, 40, bias=bias)
    inputs = torch.randn(2, rows, 24)
    network = nn.Sequential(layer, nn.SiLU())
    expected = network(inputs).detach()
    speed_up_linear_layers(network)
    if torch.backends.mkldnn.is_available():
        assert isinstance(network[0], FrozenLinear)
        assert network[0].weight is layer.weight
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(network(inputs.transpose(0, 1)), expected.transpose(0, 1), rtol=1e-6, atol=1e-6)
        turned = inputs.transpose(1, 2).contiguous().transpose(1, 2)
        torch.testing.assert_close(network(turned), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not HAS_ONEDNN, reason="torch has no oneDNN")
def test_a_part_of_a_weight_stored_by_columns_is_not_multiplied_by_onednn() -> None:
    weight = nn.Parameter(torch.randn(40, 24), requires_grad=False)
    store_by_columns(weight)
    part, _ = weight.data.split([16, 24])
    assert multiplier(64, weight) is not F.linear
    assert multiplier(64, part) is F.linear
    assert multiplier(64, part.contiguous()) is not F.linear


def test_fused_attention_and_separate_products_give_the_same_chunks(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load(checkpoint)
    encoding = policy.encode(observe(policy))
    noise = torch.randn(len(encoding.features), *policy.noise_shape, generator=torch.Generator().manual_seed(0))
    separate = policy.decode(encoding, noise)
    fused = []
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(_smolvla_expert, "MOST_SCORES", 0)
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *parts: fused.append(1) or attend(*parts)
    )
    torch.testing.assert_close(policy.decode(encoding, noise), separate, rtol=1e-6, atol=1e-6)
    assert len(fused) == policy._expert.num_steps * len(policy._expert.layers)


def test_joined_weights_share_memory_with_the_policys_own(checkpoint: Path) -> None:
    policy = load(checkpoint)
    mlp = policy._policy.model.vlm_with_expert.lm_expert.layers[0].mlp
    joined = policy._expert.layers[0].gate_and_up.weight
    assert joined.data_ptr() == mlp.gate_proj.weight.data_ptr()
    assert torch.equal(joined, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]))


def test_bfloat16_halves_the_towers_and_leaves_states_and_actions_in_float32(
    checkpoint: Path,
) -> None:
    model = load(checkpoint, dtype="bfloat16")._policy.model
    assert {weight.dtype for weight in model.vlm_with_expert.parameters()} == {torch.bfloat16}
    others = [weight for name, weight in model.named_parameters() if not name.startswith("vlm_with_expert")]
    assert {weight.dtype for weight in others} == {torch.float32}


@pytest.mark.parametrize("epsilon", [1e-6, 1e-2])
def test_the_norm_of_few_calls_gives_that_of_the_llama_layer_it_replaces(epsilon: float) -> None:
    layer = LlamaRMSNorm(24, epsilon)
    layer.weight.data.uniform_(-2, 2)
    hidden = torch.randn(5, 3, 24) * torch.logspace(-6, 6, 5)[:, None, None]
    hidden[0, 0] = 0.0
    with torch.no_grad():
        torch.testing.assert_close(_smolvla_expert._norm(layer)(hidden), layer(hidden), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            _smolvla_expert._norm(layer.bfloat16())(hidden.bfloat16()), layer(hidden.bfloat16()), rtol=1e-2, atol=1e-2
        )


@pytest.mark.skipif(not HAS_ONEDNN, reason="this torch has no oneDNN")
def test_weights_are_stored_by_columns_once_and_stay_shared_with_the_policy(checkpoint: Path) -> None:
    policy = load(checkpoint)
    mlp = policy._policy.model.vlm_with_expert.lm_expert.layers[0].mlp
    joined = policy._expert.layers[0].gate_and_up.weight
    assert joined.T.is_contiguous()
    assert mlp.gate_proj.weight.data_ptr() == joined.data_ptr()
    torch.testing.assert_close(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]), joined, rtol=0, atol=0)
