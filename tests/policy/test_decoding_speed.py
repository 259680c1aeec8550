"""Decoding is rearranged for speed: replays, joined weights and float32 products of oneDNN give the plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from policy.checkpoints import load, observe
from torch import Tensor, nn

from dsrl.policy import _smolvla_expert
from dsrl.policy._graph import MOST_SHAPES, Replayed
from dsrl.policy._linear import FrozenLinear, speed_up_linear_layers


def replay_by_calling(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record nothing: a replay calls again, and so reads what the buffers hold then, as a CUDA graph does."""
    return call


def test_a_replayed_decode_gives_the_plain_chunk_of_every_state_and_noise(checkpoint: Path) -> None:
    policy = load(checkpoint)
    replayed = Replayed(policy._expert.denoise, replay_by_calling)
    encoding = policy.encode(observe(policy))
    context = [encoding.context[key] for key in ("prefix_keys", "prefix_values", "pad_masks")]
    chunks = []
    for turn in range(4):  # plain, recorded, replayed, replayed
        noise = torch.randn(3, *policy.noise_shape, generator=torch.Generator().manual_seed(turn))
        moved = [torch.roll(tensor, turn, 0) for tensor in context]
        chunks.append((replayed(*moved, noise), policy._expert.denoise(*moved, noise)))
    assert all(torch.equal(*pair) for pair in chunks)  # at the end: no later call changed an earlier result


def test_shapes_beyond_the_most_are_computed_plainly() -> None:
    recorded = []
    double = Replayed(lambda x: 2 * x, lambda call: recorded.append(call) or call)
    for size in range(1, MOST_SHAPES + 3):
        for _ in range(3):
            assert torch.equal(double(torch.ones(size)), 2 * torch.ones(size))
    assert len(recorded) == MOST_SHAPES


def test_a_call_that_cannot_be_recorded_is_computed_plainly_with_one_warning() -> None:
    def refuse(_: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    double = Replayed(lambda x: 2 * x, refuse)
    double(torch.ones(2))
    with pytest.warns(UserWarning, match=r"not recorded as a CUDA graph \(operation not permitted .*step by step"):
        assert torch.equal(double(torch.ones(2)), 2 * torch.ones(2))
    assert torch.equal(double(torch.ones(2)), 2 * torch.ones(2))


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
