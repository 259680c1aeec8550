"""The action expert of SmolVLA, arranged for denoising one observation many times: lerobot's numbers in fewer steps.

    prefix keys, values of the VLM --`project`--> keys, values [B, layers, heads, L, head_dim]     once an observation
    noise [B, T, D] ------------------`denoise`--> num_steps x expert --> actions [B, T, D]        once a chunk

lerobot's `denoise_step` projects the prefix for each cross-attention layer in every Euler step, appends to a cache and
crops it, and computes masks, positions and the embedding of time anew. None of these depends on the noise: they are
computed once here, query, key and value (gate and up) are one product, and keys of the chunk are written into buffers
of a fixed size. The two numbers that a rotary embedding turns together lie side by side in queries and keys (lerobot:
half a head apart), so that one complex product turns them; products of queries and keys do not depend on that order.
With few worlds the calls cost as much as the arithmetic: layers are tensors, and a step calls no module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.common.vla_utils import create_sinusoidal_pos_embedding
from torch import Tensor, nn

from dsrl.policy._linear import multiplier, store_by_columns

_LONGEST_WAVE = 10_000  # of lerobot's rotary embedding
MOST_SCORES = 1 << 20  # of queries and keys, up to which separate products are faster than the fused attention


Multiply = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class _Linear(NamedTuple):
    """A linear layer."""

    weight: Tensor  # [out, in]
    bias: Tensor | None  # [out]


@dataclass(frozen=True)
class _Norm:
    """A LlamaRMSNorm: the numbers of its own method in fewer calls."""

    weight: Tensor  # [H]
    epsilon: float
    scaled: Tensor  # weight · √H
    floor: Tensor  # √(H · epsilon), a scalar tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        """Normalise [..., H]."""
        if hidden.is_cpu and hidden.dtype == torch.float32:  # there torch's own is seven calls
            length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
            return hidden.div(torch.hypot(length, self.floor)).mul_(self.scaled)
        return torch.rms_norm(hidden, self.weight.shape, self.weight.to(hidden.dtype), self.epsilon)


@dataclass(frozen=True)
class _Layer:
    """One layer of the expert; `attends_itself` where it sees prefix and chunk, False where it sees the prefix."""

    attends_itself: bool
    attention: Any
    inwards: _Linear  # to the query, and to key and value where it attends to itself
    gate_and_up: _Linear
    before_attention: _Norm
    before_mlp: _Norm
    out: _Linear
    down: _Linear
    activation: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Room:
    """The keys and values that the queries of a layer see; a group is the queries of one world that share a key."""

    keys: Tensor  # [B·groups, L, head_dim]
    values: Tensor
    own_keys: Tensor  # [B, groups, T or 0, head_dim], the places of the chunk's in `keys`
    own_values: Tensor
    masks: Tensor  # [B·groups, queries of a group, L], added to the scores
    rotations: Tensor  # [B or 1, T, 1, head_dim / 2], of the chunk's positions


class Expert:
    """The denoiser of a loaded SmolVLA, whose weights have their final type and device."""

    def __init__(self, model: Any, num_steps: int) -> None:
        """`model` is lerobot's VLAFlowMatching; `num_steps` the Euler steps of a denoising."""
        towers = model.vlm_with_expert
        self.num_steps, self.length = num_steps, model.config.chunk_size
        self.heads, self.head_dim = towers.num_attention_heads, towers.config.text_config.head_dim
        self.groups = towers.num_key_value_heads
        self.layers, self.places = _read_layers(towers)
        self.norm, self.action_out = _norm(towers.lm_expert.norm), _linear(model.action_out_proj)
        self.time_out = _linear(model.action_time_mlp_out)
        self.noise_in, self.times = _fold_time(model, num_steps)
        self.rotations = self._rotations(self.length)  # [positions, 1, head_dim / 2]

    @torch.no_grad()
    def project(self, keys: Sequence[Tensor], values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Project the prefix's keys and values, [B, heads, L, head_dim] per VLM layer, for the layers of the expert.

        Returns two tensors [B, layers of the expert, heads, L, head_dim].
        """
        projected = []
        for layer, place in zip(self.layers, self.places, strict=True):
            both = keys[place], values[place]
            key, value = both if layer.attends_itself else self._cross(layer.attention, *both)
            projected.append((_interleave(key, -1), value))
        return torch.stack([key for key, _ in projected], 1), torch.stack([value for _, value in projected], 1)

    @torch.no_grad()
    def denoise(self, keys: Tensor, values: Tensor, pad_masks: Tensor, noise: Tensor) -> Tensor:
        """Denoise [B, T, D] float32 noise by the projected prefix and its masks [B, L]: actions [B, T, D]."""
        rooms = self._rooms(keys, values, pad_masks)
        multiply = multiplier(noise.shape[0] * noise.shape[1], self.layers[0].inwards.weight)
        actions = noise
        for step in range(self.num_steps):
            hidden = F.linear(F.silu(F.linear(actions, self.noise_in, self.times[step])), *self.time_out)
            for layer, room in zip(self.layers, rooms, strict=True):
                hidden = self._layer(layer, hidden, room, multiply)
            flow = F.linear(self.norm(hidden).to(self.action_out.weight.dtype), *self.action_out)
            actions = actions.add(flow.float(), alpha=-1.0 / self.num_steps)
        return actions

    def _cross(self, attention: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Project keys and values [B, heads, L, head_dim] of the prefix for a layer that attends to nothing else."""
        found = []
        for project, given in ((attention.k_proj, keys), (attention.v_proj, values)):
            flat = given.transpose(1, 2).flatten(2).to(project.weight.dtype)
            found.append(project(flat).unflatten(2, (-1, self.head_dim)).transpose(1, 2))
        return found[0], found[1]

    def _rotations(self, positions: int) -> Tensor:
        """Compute the rotary embedding as complex numbers [positions, 1, head_dim / 2]."""
        device = self.times.device
        exponents = (2.0 / self.head_dim) * torch.arange(self.head_dim // 2, dtype=torch.float32, device=device)
        angles = torch.arange(positions, device=device)[:, None].float() / (_LONGEST_WAVE**exponents)
        return torch.complex(angles.cos(), angles.sin())[:, None]

    def _rooms(self, keys: Tensor, values: Tensor, pad_masks: Tensor) -> list[_Room]:
        """Copy keys and values [B, layers, heads, L, head_dim] into buffers, one a layer, with room for the chunk's."""
        prefix, masks = pad_masks.shape[1], self._masks(pad_masks)
        after, alone = self._positions(pad_masks)
        of_prefix, rooms = masks[:, :, :prefix].contiguous(), []
        for place, layer in enumerate(self.layers):
            length = self.length if layer.attends_itself else 0
            key, value = (F.pad(one[:, place], (0, 0, 0, length)) for one in (keys, values))
            own, seen = (key[:, :, prefix:], value[:, :, prefix:]), (masks, after) if length else (of_prefix, alone)
            rooms.append(_Room(key.flatten(0, 1), value.flatten(0, 1), *own, *seen))
        return rooms

    def _positions(self, pad_masks: Tensor) -> tuple[Tensor, Tensor]:
        """Look up the rotations [B or 1, T, 1, head_dim / 2] of the chunk: after its prefix, and from position 0."""
        needed = pad_masks.shape[1] + self.length
        if len(self.rotations) < needed:
            self.rotations = self._rotations(needed)
        after = pad_masks.sum(dim=1)[:, None] + torch.arange(self.length, device=pad_masks.device)
        return self.rotations[after], self.rotations[None, : self.length]

    def _masks(self, pad_masks: Tensor) -> Tensor:
        """Build the mask [B·groups, their queries, L + T] that is added: an action sees the prefix and earlier ones."""
        causal = torch.ones(self.length, self.length, dtype=torch.bool, device=pad_masks.device).tril()
        of_prefix = pad_masks[:, None].expand(-1, self.length, -1)
        seen = torch.cat([of_prefix, causal.expand(len(pad_masks), -1, -1)], dim=2)
        added = torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, torch.finfo(torch.float32).min)
        return added.repeat(1, self.heads, 1).view(len(pad_masks) * self.groups, -1, seen.shape[2])

    def _layer(self, layer: _Layer, hidden: Tensor, room: _Room, multiply: Multiply) -> Tensor:
        """Run one layer over [B, T, H]; a layer that attends to itself writes the chunk's keys into its `room`."""
        dtype = layer.inwards.weight.dtype
        entering = multiply(layer.before_attention(hidden).to(dtype), *layer.inwards)
        entering = entering.view(len(hidden), self.length, -1, self.head_dim)
        if layer.attends_itself:
            turned = _rotate(entering[:, :, : self.heads + self.groups], room.rotations)
            queries = turned[:, :, : self.heads]
            room.own_keys.copy_(turned[:, :, self.heads :].transpose(1, 2))
            room.own_values.copy_(entering[:, :, self.heads + self.groups :].transpose(1, 2))
        else:
            queries = _rotate(entering, room.rotations)
        hidden = multiply(self._attend(queries, room).to(dtype), *layer.out).add_(hidden)
        gate, up = multiply(layer.before_mlp(hidden), *layer.gate_and_up).chunk(2, dim=2)
        return multiply(layer.activation(gate).mul_(up), *layer.down).add_(hidden)

    def _attend(self, queries: Tensor, room: _Room) -> Tensor:
        """Attend with queries [B, T, heads, head_dim]: [B, T, heads · head_dim].

        Queries that share a key lie side by side, so that no key is copied for each of them. On the CPU separate
        products are faster than torch's fused attention while the scores fit into its cache.
        """
        batch, length, shared = len(queries), self.length, self.heads // self.groups
        grouped = queries.view(batch, length, self.groups, shared, self.head_dim).permute(0, 2, 3, 1, 4)
        asked = grouped.reshape(-1, shared * length, self.head_dim).to(room.keys.dtype)
        if asked.is_cpu and room.masks.numel() <= MOST_SCORES and asked.dtype == torch.float32:
            scores = torch.baddbmm(room.masks, asked, room.keys.mT, alpha=self.head_dim**-0.5)
            attended = torch.bmm(scores.softmax(2), room.values)
        else:
            keys, values, masks = room.keys[:, None], room.values[:, None], room.masks[:, None].to(asked.dtype)
            attended = F.scaled_dot_product_attention(asked[:, None], keys, values, masks)
        merged = attended.view(batch, self.groups, shared, length, self.head_dim).permute(0, 3, 1, 2, 4)
        return merged.reshape(batch, length, -1)


def _read_layers(towers: Any) -> tuple[list[_Layer], list[int]]:
    """Read the expert's layers, and the VLM layer from whose prefix each takes keys and values."""
    per_expert = towers.num_vlm_layers // towers.num_expert_layers
    every = towers.self_attn_every_n_layers
    places = list(range(0, towers.num_vlm_layers, per_expert))[: towers.num_expert_layers]
    layers = []
    for place, layer in zip(places, towers.lm_expert.layers, strict=True):
        itself = "cross" not in towers.attention_mode or (every > 0 and place % every == 0)
        attention, mlp = layer.self_attn, layer.mlp
        inwards = _attention_inwards(attention, towers.config.text_config.head_dim, itself)
        gate_and_up = _joined([mlp.gate_proj, mlp.up_proj])
        norms = _norm(layer.input_layernorm), _norm(layer.post_attention_layernorm)
        outwards = _linear(attention.o_proj), _linear(mlp.down_proj)
        layers.append(_Layer(itself, attention, inwards, gate_and_up, *norms, *outwards, mlp.act_fn.forward))
    return layers, places


def _attention_inwards(attention: Any, head_dim: int, itself: bool) -> _Linear:
    """Join a copy of the projections to query, key and value, the first two interleaved; or copy the query's alone."""
    turned, straight = [attention.q_proj], []
    if itself:
        turned, straight = [attention.q_proj, attention.k_proj], [attention.v_proj]

    def joined(name: str) -> nn.Parameter:
        dim = -2 if name == "weight" else -1  # of a head: [heads, head_dim, inputs] or [heads, head_dim]
        copies = [_interleave(getattr(part, name).unflatten(0, (-1, head_dim)), dim).flatten(0, 1) for part in turned]
        return nn.Parameter(torch.cat([*copies, *(getattr(part, name) for part in straight)]), requires_grad=False)

    weight = joined("weight")
    store_by_columns(weight)
    return _Linear(weight, None if attention.q_proj.bias is None else joined("bias"))


def _joined(parts: list[Any]) -> _Linear:
    """Join linear layers with one input into one, whose memory the weights of the parts share from now on."""
    weight = _shared([part.weight for part in parts])
    return _Linear(weight, None if parts[0].bias is None else _shared([part.bias for part in parts]))


def _shared(weights: list[nn.Parameter]) -> nn.Parameter:
    """Concatenate weights, which become views of the result."""
    joined = nn.Parameter(torch.cat([weight.data for weight in weights]), requires_grad=False)
    if joined.ndim == 2:
        store_by_columns(joined)
    whole = joined.data
    for weight, view in zip(weights, torch.split(whole, [len(weight) for weight in weights]), strict=True):
        weight.data = view
    return joined


def _fold_time(model: Any, num_steps: int) -> tuple[Tensor, Tensor]:
    """Fold the first layers of the embedding of noisy actions and time: a weight [H, D] and a bias [steps, H].

    action_time_mlp_in(cat[action_in_proj(actions), embedding(time)]) is linear in the actions, and has one bias for
    each of the times 1, 1 - 1/num_steps, ... at which a denoising stands.
    """
    first, second = model.action_in_proj, model.action_time_mlp_in
    width, device = first.out_features, first.weight.device
    exact = torch.float64 if device.type != "mps" else torch.float32
    times = torch.tensor([1.0 - step / num_steps for step in range(num_steps)], dtype=torch.float32, device=device)
    waves = create_sinusoidal_pos_embedding(times, width, model.config.min_period, model.config.max_period, device)
    of_action, of_time = second.weight.to(exact).split([width, second.in_features - width], dim=1)
    bias = second.bias.to(exact) + of_action @ first.bias.to(exact) + waves.float().to(exact) @ of_time.T
    return (of_action @ first.weight.to(exact)).float(), bias.float()


def _interleave(heads: Tensor, dim: int) -> Tensor:
    """Move the two numbers that are turned together, half of `dim` (negative) apart, side by side."""
    return torch.unflatten(heads, dim, (2, -1)).transpose(dim - 1, dim).flatten(dim - 1, dim)


def _rotate(heads: Tensor, rotation: Tensor) -> Tensor:
    """Turn interleaved heads [B, T, n, head_dim] by their rotary embedding, in float32 as lerobot does."""
    turned = torch.view_as_complex(heads.float().view(*heads.shape[:3], -1, 2)) * rotation
    return torch.view_as_real(turned).flatten(3).to(heads.dtype)


def _linear(layer: Any) -> _Linear:
    """Return a module's weights, which stay shared with it."""
    return _Linear(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())


def _norm(layer: Any) -> _Norm:
    """Return a LlamaRMSNorm's weights, which stay shared with it."""
    weight, epsilon = layer.weight.detach(), layer.variance_epsilon
    return _Norm(weight, epsilon, weight.float() * len(weight) ** 0.5, torch.tensor((len(weight) * epsilon) ** 0.5))
